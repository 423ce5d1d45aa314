//! Compiles the programs for libuv and libev, if the headers are installed.
//!
//! A missing library is not an error: the reports lack its column. The Debian packages are
//! `libuv1-dev` and `libev-dev`.

use std::path::Path;

const FOLDERS: [&str; 2] = ["src/callbacks/c", "src/net/c"];

fn main() {
    for folder in FOLDERS {
        println!("cargo::rerun-if-changed={folder}");
    }
    for (library, cfg) in [("uv", "has_uv"), ("ev", "has_ev")] {
        let files = FOLDERS.map(|folder| format!("{folder}/{library}.c"));
        let compiled = cc::Build::new()
            .files(files.iter().filter(|file| Path::new(file).exists()))
            .opt_level(3)
            .cargo_warnings(false)
            // libev's macros alias its watcher types, which its documentation allows.
            .flag_if_supported("-fno-strict-aliasing")
            .try_compile(&format!("bench_{library}"));
        if compiled.is_ok() {
            println!("cargo::rustc-link-lib={library}");
            println!("cargo::rustc-cfg={cfg}");
        }
    }
}
