//! The builds of this program whose figures are in one report.

use std::io;
use std::path::{Path, PathBuf};

/// This program, or the same program built with another profile.
pub struct Build {
    pub program: PathBuf,
    /// What each workload's name ends with, for instance `" [lto]"`; empty for this program.
    pub label: String,
}

impl Build {
    /// Returns this program and the other one, if there is one. Its label is the name of its folder,
    /// which cargo names after the profile.
    pub fn all(beside: Option<&Path>) -> io::Result<Vec<Self>> {
        let mut all = vec![Self {
            program: std::env::current_exe()?,
            label: String::new(),
        }];
        if let Some(program) = beside {
            let program = program.canonicalize()?;
            let folder = program.parent().and_then(Path::file_name);
            let folder = folder.unwrap_or_default().to_string_lossy();
            let label = format!(" [{folder}]");
            all.push(Self { program, label });
        }
        Ok(all)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_other_build_is_labelled_with_its_folder() {
        let this = std::env::current_exe().unwrap();
        let folder = this.parent().unwrap().file_name().unwrap();
        let all = Build::all(Some(&this)).unwrap();
        let labels: Vec<_> = all.iter().map(|build| build.label.as_str()).collect();
        let expected = format!(" [{}]", folder.to_string_lossy());
        assert_eq!(labels, ["", expected.as_str()]);
        assert!(Build::all(Some(Path::new("/there/is/none"))).is_err());
    }
}
