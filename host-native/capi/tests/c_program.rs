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

/// A compiler, the standard it is held to, and what installs it.
struct Language {
    variable: &'static str,
    compiler: &'static str,
    standard: &'static str,
    mend: &'static str,
}

const C: Language = Language {
    variable: "CC",
    compiler: "cc",
    standard: "-std=c11",
    mend: "install a C compiler: apt-get install gcc libc6-dev",
};

const CPP: Language = Language {
    variable: "CXX",
    compiler: "c++",
    standard: "-std=c++11",
    mend: "install a C++ compiler: apt-get install g++",
};

fn compile(language: &Language, source: &Path, libraries: &Path, link: &[&str], program: &str) -> PathBuf {
    let program = libraries.join(program);
    let compiler = std::env::var_os(language.variable).unwrap_or_else(|| language.compiler.into());
    run(
        Command::new(compiler)
            .args([
                language.standard,
                "-Wall",
                "-Wextra",
                "-Werror",
                "-pedantic",
                "-I",
            ])
            .arg(Path::new(MANIFEST).join("include"))
            .arg(source)
            .arg("-L")
            .arg(libraries)
            .args(link)
            .arg("-o")
            .arg(&program),
        language.mend,
    );
    program
}

/// The same of a source beside this one, with the shared library.
fn compile_own(language: &Language, source: &str, libraries: &Path, program: &str) -> PathBuf {
    let source = Path::new(MANIFEST).join("tests").join(source);
    let link = ["-lsurgetank_c", "-lpthread"];
    compile(language, &source, libraries, &link, program)
}

/// `program`, which has nothing of this one's environment.
fn alone(program: &Path, libraries: &Path) -> Command {
    let mut command = Command::new(program);
    command.env_clear().env("LD_LIBRARY_PATH", libraries);
    command
}

#[test]
fn the_example_delivers_with_either_library() {
    let libraries = libraries();
    let example = root().join("examples/c/main.c");
    let shared = compile(&C, &example, &libraries, &["-lsurgetank_c"], "c_example_shared");
    let archive = ["-l:libsurgetank_c.a", "-lpthread", "-ldl", "-lm", "-lgcc_s"];
    let linked = compile(&C, &example, &libraries, &archive, "c_example_static");
    for program in [shared, linked] {
        let server = Server::start(|_, _| Reply::ok());
        let output = run(
            alone(&program, &libraries)
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
    let program = compile_own(&C, "misuse.c", &libraries, "c_misuse");
    run(&mut alone(&program, &libraries), "");
}

/// The messages of the events that arrived, sorted.
fn messages(server: &Server) -> Vec<String> {
    let requests = server.requests();
    let items = requests
        .iter()
        .flat_map(|request| envelope::parse(&request.body).items);
    let events = items.filter(|item| item.kind() == "event");
    let mut messages: Vec<String> = events
        .map(|event| event.json()["message"].as_str().expect("a text").to_owned())
        .collect();
    messages.sort_unstable();
    messages
}

#[test]
fn threads_and_children_deliver_everything_once() {
    let libraries = libraries();
    let program = compile_own(&C, "threads_and_fork.c", &libraries, "c_threads");
    let server = Server::start(|_, _| Reply::ok());
    run(alone(&program, &libraries).env("SENTRY_DSN", server.dsn()), "");
    let mut expected: Vec<String> = (0..200).map(|number| format!("thread {number}")).collect();
    expected.extend(["parent 0".to_owned(), "child 0".to_owned()]);
    expected.sort_unstable();
    assert_eq!(messages(&server), expected);
}

#[test]
fn cpp_takes_the_header_and_the_status_has_the_warnings() {
    let libraries = libraries();
    let program = compile_own(&CPP, "owner.cpp", &libraries, "cpp_owner");
    let server = Server::start(|_, _| Reply::ok());
    let output = run(
        alone(&program, &libraries)
            .env("SENTRY_DSN", server.dsn())
            .env("OTEL_BSP_MAX_QUEUE_SIZE", "many"),
        "",
    );
    assert_eq!(messages(&server), ["from C++"]);
    let status: serde_json::Value = serde_json::from_slice(&output.stdout).expect("the status is JSON");
    let warning = status["warnings"][0].as_str().expect("a text");
    assert!(warning.starts_with("OTEL_BSP_MAX_QUEUE_SIZE: "), "{warning}");
}

/// Times that `needle` is in the bodies.
fn count(requests: &[support::Received], needle: &str) -> u64 {
    let needle = needle.as_bytes();
    let windows = requests
        .iter()
        .flat_map(|request| request.body.windows(needle.len()));
    windows.filter(|window| *window == needle).count() as u64
}

#[test]
fn children_of_fork_and_vfork_deliver_what_is_theirs() {
    let libraries = libraries();
    let program = compile_own(&C, "forks.c", &libraries, "c_forks");
    let server = Server::start(|request, _| {
        if count(std::slice::from_ref(request), "to be refused") > 0 {
            Reply::status(429).with("X-Sentry-Rate-Limits", "60:transaction:key")
        } else {
            Reply::ok()
        }
    });
    let output = run(
        alone(&program, &libraries)
            .arg("deliver")
            .env("SENTRY_DSN", server.dsn())
            .env("OTEL_EXPORTER_OTLP_ENDPOINT", server.url("")),
        "",
    );
    let status: serde_json::Value = serde_json::from_slice(&output.stdout).expect("the status is JSON");
    let requests = server.requests();
    // Six children, a daemon, and six programs.
    for child in 0..6 {
        assert_eq!(count(&requests, &format!("\"child {child}\"")), 1);
    }
    assert_eq!(count(&requests, "\"daemon\""), 1);
    assert_eq!(count(&requests, "\"executed\""), 6);
    assert_eq!(count(&requests, "not limited here"), 13);
    assert_eq!(count(&requests, "childs"), 13);
    // And the parent: everything once, nothing that was limited.
    assert_eq!(count(&requests, "\"parent\""), 1);
    assert_eq!(
        count(&requests, "\"limited\"") + count(&requests, "still limited"),
        0
    );
    let totals = status["totals"]["categories"].as_array().expect("totals");
    let spans = totals.iter().find(|of| of["category"] == "span").expect("spans");
    let of = |name: &str| spans[name].as_u64().expect("a number");
    // The event has no such bytes in front of its name.
    assert_eq!(count(&requests, "*\u{6}parent"), of("delivered"));
    // Each transaction counts as a span, too: one was refused, two were limited.
    assert_eq!(of("recorded"), of("delivered") + of("dropped"));
}

#[test]
fn a_child_keeps_deadlines_at_a_server_that_stalls() {
    let libraries = libraries();
    let program = compile_own(&C, "forks.c", &libraries, "c_forks_stall");
    let server = Server::start(|_, _| Reply::Stall);
    run(
        alone(&program, &libraries)
            .arg("stall")
            .env("SENTRY_DSN", server.dsn()),
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
