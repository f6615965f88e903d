//! A C compiler takes the header, and what it makes delivers: linked with either library, against a real server.

#[path = "../../client/tests/support/mod.rs"]
mod support;

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use support::{Reply, Server, envelope};

const MANIFEST: &str = env!("CARGO_MANIFEST_DIR");

fn root() -> &'static Path {
    Path::new(MANIFEST)
        .ancestors()
        .nth(2)
        .expect("the crate lies two folders deep")
}

fn run(command: &mut Command, mend: &str) -> Output {
    let output = command
        .output()
        .unwrap_or_else(|error| panic!("{command:?}: {error}; {mend}"));
    assert!(
        output.status.success(),
        "{command:?} failed:\n{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    output
}

/// Builds both libraries and gives their folder.
fn libraries() -> PathBuf {
    let test = std::env::current_exe().expect("this program has a path");
    // target/<profile>/deps/<test>
    let folder = test.ancestors().nth(2).expect("a folder of this profile");
    let target = folder.parent().expect("the target folder");
    run(
        Command::new(env!("CARGO"))
            .current_dir(root())
            .args(["build", "--quiet", "--package", "surgetank-capi", "--target-dir"])
            .arg(target),
        "install cargo",
    );
    target.join("debug")
}

fn compile(source: &Path, libraries: &Path, link: &[&str], program: &str) -> PathBuf {
    let program = libraries.join(program);
    let compiler = std::env::var_os("CC").unwrap_or_else(|| "cc".into());
    run(
        Command::new(compiler)
            .args(["-std=c11", "-Wall", "-Wextra", "-Werror", "-pedantic", "-I"])
            .arg(Path::new(MANIFEST).join("include"))
            .arg(source)
            .arg("-L")
            .arg(libraries)
            .args(link)
            .arg("-o")
            .arg(&program),
        "install a C compiler: apt-get install gcc libc6-dev",
    );
    program
}

#[test]
fn the_example_delivers_with_either_library() {
    let libraries = libraries();
    let example = root().join("examples/c/main.c");
    let shared = compile(&example, &libraries, &["-lsurgetank_c"], "c_example_shared");
    let archive = ["-l:libsurgetank_c.a", "-lpthread", "-ldl", "-lm", "-lgcc_s"];
    let linked = compile(&example, &libraries, &archive, "c_example_static");
    for program in [shared, linked] {
        let server = Server::start(|_, _| Reply::ok());
        let output = run(
            Command::new(program)
                .env_clear()
                .env("LD_LIBRARY_PATH", &libraries)
                .env("SENTRY_DSN", server.dsn())
                .env("OTEL_EXPORTER_OTLP_ENDPOINT", server.url("")),
            "",
        );
        let status: serde_json::Value = serde_json::from_slice(&output.stdout).expect("the status is JSON");
        assert_eq!(status["worker"]["state"], "ended", "{status}");
        let requests = server.requests();
        let of = |path: &str| -> Vec<_> { requests.iter().filter(|request| request.path == path).collect() };
        let [event] = of("/api/42/envelope/")[..] else {
            panic!("{requests:?}")
        };
        assert_eq!(
            envelope::parse(&event.body).items[0].json()["message"],
            "card declined"
        );
        let [spans] = of("/v1/traces")[..] else {
            panic!("{requests:?}")
        };
        assert!(spans.body.ends_with(b"charge"));
    }
}

#[test]
fn misuse_is_an_error_and_not_a_crash() {
    let libraries = libraries();
    let source = Path::new(MANIFEST).join("tests/misuse.c");
    let program = compile(&source, &libraries, &["-lsurgetank_c"], "c_misuse");
    run(
        Command::new(program)
            .env_clear()
            .env("LD_LIBRARY_PATH", &libraries),
        "",
    );
}

#[test]
fn the_header_is_made_of_the_source() {
    let path = Path::new(MANIFEST).join("include/surgetank.h");
    let config = cbindgen::Config::from_root_or_default(MANIFEST);
    let bindings = cbindgen::Builder::new()
        .with_config(config)
        .with_src(Path::new(MANIFEST).join("src/lib.rs"))
        .generate()
        .expect("the source has a C interface");
    let mut made = Vec::new();
    bindings.write(&mut made);
    let made = String::from_utf8(made).expect("a header is text");
    if std::env::var_os("SURGETANK_UPDATE").is_some() {
        std::fs::write(&path, &made).expect("the header can be written");
    }
    let kept = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(
        kept == made,
        "include/surgetank.h is out of date: run this test with SURGETANK_UPDATE=1"
    );
}
