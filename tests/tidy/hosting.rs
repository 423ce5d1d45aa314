//! What the hosts of the project read: the manifests, the workflow, and the scripts that it runs.

use super::{none, read, root};

/// The packages that are published, by their folders.
fn published() -> Vec<(String, String)> {
    let workspace = read(&root().join("Cargo.toml"));
    let members = workspace.split("\nmembers = [").nth(1).unwrap();
    let members = members
        .split(']')
        .next()
        .unwrap()
        .split('"')
        .skip(1)
        .step_by(2);
    let folders = std::iter::once(".").chain(members);
    folders
        .map(|folder| {
            (
                folder.to_owned(),
                read(&root().join(folder).join("Cargo.toml")),
            )
        })
        .collect()
}

/// What a manifest lacks for a registry.
fn lacks(folder: &str, manifest: &str) -> Vec<String> {
    let package = manifest.split("\n[package]").last().unwrap_or_default();
    let name = package
        .split("name = \"")
        .nth(1)
        .and_then(|rest| rest.split('"').next())
        .unwrap_or_default();
    let mut expected = vec![format!("documentation = \"https://docs.rs/{name}\"")];
    let inherited = [
        "version",
        "edition",
        "rust-version",
        "license",
        "repository",
        "homepage",
    ];
    expected.extend(inherited.map(|key| format!("{key}.workspace = true")));
    expected.extend(["description = ", "readme = \"README.md\"", "include = ["].map(str::to_owned));
    expected.retain(|line| !package.contains(line.as_str()));
    expected
        .iter()
        .map(|line| format!("{folder}/Cargo.toml has no {line}"))
        .collect()
}

#[test]
fn each_manifest_has_what_a_registry_shows() {
    let packages = published();
    assert!(packages.len() >= 2);
    none(
        packages
            .iter()
            .flat_map(|(folder, manifest)| lacks(folder, manifest))
            .collect(),
    );
    let wrong = lacks("x", "[workspace]\n[package]\nname = \"x\"\n");
    assert_eq!(
        wrong[0],
        "x/Cargo.toml has no documentation = \"https://docs.rs/x\""
    );
    assert_eq!(wrong.len(), 10);
    for (folder, _) in packages {
        for file in ["LICENSE", "README.md"] {
            let path = root().join(&folder).join(file);
            assert!(path.is_file(), "{} is missing", path.display());
        }
    }
}

/// What is wrong with a workflow: an action without its major version, a step that runs a script
/// which is not there.
fn wrong_steps(workflow: &str) -> Vec<String> {
    let mut complaints = Vec::new();
    for line in workflow
        .lines()
        .map(|line| line.trim().trim_start_matches("- "))
    {
        if let Some(action) = line.strip_prefix("uses: ") {
            let version = action.split_once("@v").map_or("", |(_, version)| version);
            if version.is_empty() || !version.bytes().all(|c| c.is_ascii_digit()) {
                complaints.push(format!("{action}: not pinned to a major version"));
            }
        }
        let words = line
            .split_whitespace()
            .map(|word| word.trim_end_matches([',', ';', '.']));
        let scripts = words.filter(|word| word.starts_with(".ci/"));
        let lost = scripts.filter(|script| !root().join(script).is_file());
        complaints.extend(lost.map(|script| format!("there is no {script}")));
        if line.contains('\t') {
            complaints.push(format!("a tab: {line}"));
        }
    }
    complaints
}

#[test]
fn the_workflow_runs_the_gate_and_the_command_of_the_readme_on_each_system() {
    let workflow = read(&root().join(".github/workflows/ci.yml"));
    none(wrong_steps(&workflow));
    assert_eq!(
        workflow.matches("run: .ci/run\n").count(),
        1,
        "Linux runs the gate"
    );
    let tested = workflow.matches("run: cargo test\n").count();
    assert_eq!(tested, 3, "macOS, FreeBSD and NetBSD run the tests");
    let readme = read(&root().join("README.md"));
    assert!(
        readme.contains("\ncargo test "),
        "which is the README's command"
    );
    let wrong = wrong_steps("- uses: a/b@main\n- uses: a/b@v1\n- run: .ci/nothing\n");
    assert_eq!(
        wrong,
        [
            "a/b@main: not pinned to a major version",
            "there is no .ci/nothing"
        ]
    );
}

#[test]
fn the_gate_runs_scripts_that_are_there() {
    none(wrong_steps(&read(&root().join(".ci/run"))));
}
