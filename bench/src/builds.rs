//! Build costs of each peer: the time of a clean release build of hello-world, and its number of crates.
//!
//! The crates are downloaded beforehand; that time is not included.

use readily_bench::report::Row;
use std::error::Error;
use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Instant;

struct Hello {
    peer: &'static str,
    dependency: String,
    main: &'static str,
}

fn hellos() -> Vec<Hello> {
    let here = env!("CARGO_MANIFEST_DIR");
    let hello = |peer, dependency: &str, main| Hello {
        peer,
        dependency: dependency.to_owned(),
        main,
    };
    vec![
        hello("none", "", "println!(\"hello\");"),
        hello(
            "readily",
            &format!("readily = {{ path = '{here}/..' }}"),
            "readily::run(async { println!(\"hello\") }).unwrap();",
        ),
        hello(
            "tokio",
            "tokio = { version = '1', features = ['rt', 'net', 'time', 'sync', 'io-util'] }",
            "tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap()\
             .block_on(async { println!(\"hello\") });",
        ),
        hello(
            "smol",
            "smol = '2'",
            "smol::block_on(async { println!(\"hello\") });",
        ),
        hello(
            "monoio",
            "monoio = '0.2'",
            "monoio::RuntimeBuilder::<monoio::LegacyDriver>::new().enable_timer().build().unwrap()\
             .block_on(async { println!(\"hello\") });",
        ),
        hello(
            "compio",
            "compio = { version = '0.19', default-features = false, \
             features = ['io', 'net', 'polling', 'runtime', 'time'] }",
            "compio::runtime::Runtime::new().unwrap().block_on(async { println!(\"hello\") });",
        ),
        hello(
            "calloop",
            "calloop = '0.14'",
            "let mut event_loop = calloop::EventLoop::<()>::try_new().unwrap();\
             event_loop.handle().insert_idle(|_| println!(\"hello\"));\
             event_loop.dispatch(std::time::Duration::ZERO, &mut ()).unwrap();",
        ),
        hello(
            "mio",
            "mio = { version = '1', features = ['os-poll', 'net'] }",
            "mio::Poll::new().unwrap(); println!(\"hello\");",
        ),
        hello(
            "polling",
            "polling = '3'",
            "polling::Poller::new().unwrap(); println!(\"hello\");",
        ),
    ]
}

fn cargo(folder: &Path, args: &[&str]) -> Result<String, Box<dyn Error>> {
    let output = Command::new("cargo")
        .args(args)
        .current_dir(folder)
        .env("CARGO_TARGET_DIR", folder.join("target"))
        .env("CARGO_TERM_COLOR", "never")
        .output()?;
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    match output.status.success() {
        true => Ok(said),
        false => Err(format!("cargo {args:?}: {said}").into()),
    }
}

#[allow(clippy::disallowed_methods)] // measures wall time, outside any loop
fn built(hello: &Hello, folder: &Path) -> Result<[Row; 2], Box<dyn Error>> {
    let Hello {
        peer,
        dependency,
        main,
    } = hello;
    fs::create_dir_all(folder.join("src"))?;
    fs::write(
        folder.join("Cargo.toml"),
        format!(
            "[workspace]\n[package]\nname = 'hello'\nversion = '0.0.0'\nedition = '2024'\n\
             [dependencies]\n{dependency}\n"
        ),
    )?;
    fs::write(
        folder.join("src/main.rs"),
        format!("fn main() {{ {main} }}\n"),
    )?;
    cargo(folder, &["fetch"])?;
    let start = Instant::now();
    let said = cargo(folder, &["build", "--release"])?;
    let took = start.elapsed().as_secs_f64();
    // One of the lines is for hello-world itself.
    let crates = said.matches("Compiling ").count() - 1;
    Ok([
        Row::new("hello-world, built", peer, took, "s"),
        Row::new("hello-world, built", peer, crates as f64, "crates"),
    ])
}

pub fn rows(only: impl Fn(&str, &str) -> bool) -> Result<Vec<Row>, Box<dyn Error>> {
    let mut rows = Vec::new();
    let folder = std::env::temp_dir().join(format!("readily-builds-{}", std::process::id()));
    for hello in hellos() {
        if only("hello-world, built", hello.peer) {
            rows.extend(built(&hello, &folder.join(hello.peer))?);
        }
    }
    fs::remove_dir_all(&folder)?;
    Ok(rows)
}
