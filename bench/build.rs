//! Compiles the programs for libuv, libev and libevent, if the headers are installed.
//!
//! A missing library is not an error: the reports lack its column. The Debian packages are
//! `libuv1-dev`, `libev-dev` and `libevent-dev`.

use std::path::Path;

const FOLDERS: [&str; 2] = ["src/callbacks/c", "src/net/c"];

fn main() {
    for folder in FOLDERS {
        println!("cargo::rerun-if-changed={folder}");
    }
    for (library, program, cfg) in [
        // Before libev, which has functions of the same names, to be used in place of libevent.
        ("event_core", "event", "has_event"),
        ("uv", "uv", "has_uv"),
        ("ev", "ev", "has_ev"),
    ] {
        let files = FOLDERS.map(|folder| format!("{folder}/{program}.c"));
        let compiled = cc::Build::new()
            .files(files.iter().filter(|file| Path::new(file).exists()))
            .opt_level(3)
            .cargo_warnings(false)
            // libev's macros alias its watcher types, which its documentation allows.
            .flag_if_supported("-fno-strict-aliasing")
            .try_compile(&format!("bench_{program}"));
        if compiled.is_ok() {
            println!("cargo::rustc-link-lib={library}");
            println!("cargo::rustc-cfg={cfg}");
        }
    }
}
