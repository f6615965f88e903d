//! Running other programs from the workspace root, showing what is run so that it can be typed again.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail, ensure};

/// The workspace root: the folder above this crate.
pub(crate) fn root() -> &'static Path {
    let own = Path::new(env!("CARGO_MANIFEST_DIR"));
    own.parent().unwrap_or(own)
}

/// Where built files and installed tools go.
pub(crate) fn target() -> PathBuf {
    root().join("target")
}

/// Runs one line such as `RUSTFLAGS="--cfg x" cargo test`, with its output passed on.
///
/// Leading `NAME=value` words become environment variables. Words are split at blanks, double quotes hold blanks
/// together; there is no other shell syntax.
pub(crate) fn run(line: &str) -> Result<()> {
    println!("$ {line}");
    let status = parse(line)?
        .status()
        .with_context(|| format!("could not start `{line}`"))?;
    ensure!(status.success(), "`{line}` failed ({status})");
    Ok(())
}

/// Runs one line quietly and gives what it printed; an error has it, too.
pub(crate) fn collect(line: &str) -> Result<String> {
    let output = parse(line)?
        .stdin(Stdio::null())
        .output()
        .with_context(|| format!("could not start `{line}`"))?;
    let text = [output.stdout, output.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
    let text = format!("$ {line}\n{}", text.concat());
    ensure!(
        output.status.success(),
        "{text}`{line}` failed ({})",
        output.status
    );
    Ok(text)
}

/// Runs one line quietly and gives what it printed on standard output; `None` when it failed or does not exist.
pub(crate) fn ask(line: &str) -> Option<String> {
    let output = parse(line).ok()?.stdin(Stdio::null()).output().ok()?;
    output
        .status
        .success()
        .then(|| String::from_utf8_lossy(&output.stdout).into_owned())
}

fn parse(line: &str) -> Result<Command> {
    let mut words = split(line)?.into_iter().peekable();
    let mut variables = Vec::new();
    while let Some(word) = words.next_if(|word| is_assignment(word)) {
        variables.push(word);
    }
    let Some(program) = words.next() else {
        bail!("no program in `{line}`")
    };
    let mut command = Command::new(program);
    command.args(words).current_dir(root());
    // A flag that the caller's environment holds for its own builds would change what a check shows.
    for inherited in [
        "RUSTFLAGS",
        "CARGO_ENCODED_RUSTFLAGS",
        "RUSTDOCFLAGS",
        "CARGO_TARGET_DIR",
    ] {
        command.env_remove(inherited);
    }
    // Nor are checks to send anything to where the caller's own programs send their telemetry; and what `cargo run` says
    // about this package to this program would have build scripts run again that ask for it.
    for (name, _) in std::env::vars_os() {
        let name = name.to_string_lossy();
        let starts = ["SENTRY_", "OTEL_", "CARGO_PKG_", "CARGO_MANIFEST_"];
        if starts.iter().any(|start| name.starts_with(start)) {
            command.env_remove(&*name);
        }
    }
    for variable in variables {
        if let Some((name, value)) = variable.split_once('=') {
            command.env(name, value);
        }
    }
    Ok(command)
}

fn is_assignment(word: &str) -> bool {
    word.split_once('=').is_some_and(|(name, _)| {
        let may_stand = |byte: u8| byte.is_ascii_uppercase() || byte.is_ascii_digit() || byte == b'_';
        name.starts_with(|first: char| !first.is_ascii_digit()) && name.bytes().all(may_stand)
    })
}

fn split(line: &str) -> Result<Vec<String>> {
    let mut words = Vec::new();
    let mut word = String::new();
    let mut quoted = false;
    for character in line.chars() {
        match character {
            '"' => quoted = !quoted,
            ' ' if !quoted => {
                if !word.is_empty() {
                    words.push(std::mem::take(&mut word));
                }
            }
            other => word.push(other),
        }
    }
    ensure!(!quoted, "a quote is open at the end of `{line}`");
    if !word.is_empty() {
        words.push(word);
    }
    Ok(words)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_split_at_blanks_and_quotes_hold_them_together() {
        let words = split(r#"FLAGS="--cfg a  --cfg b" cargo  test"#).unwrap();
        assert_eq!(words, ["FLAGS=--cfg a  --cfg b", "cargo", "test"]);
        assert!(split("cargo \"test").is_err());
    }

    #[test]
    fn only_capital_names_before_the_program_are_variables() {
        let command = parse("A_B32=1 cargo --config profile.x=y C=2").unwrap();
        assert_eq!(command.get_program(), "cargo");
        assert!(
            command
                .get_envs()
                .any(|(name, value)| name == "A_B32" && value == Some("1".as_ref()))
        );
        assert_eq!(
            command.get_args().collect::<Vec<_>>(),
            ["--config", "profile.x=y", "C=2"]
        );
    }

    #[test]
    fn a_failing_program_is_an_error_and_a_missing_one_too() {
        assert!(run("false").is_err());
        assert!(run("surgetank-no-such-program").is_err());
        assert_eq!(ask("surgetank-no-such-program"), None);
        assert_eq!(ask("echo yes").as_deref(), Some("yes\n"));
    }
}
