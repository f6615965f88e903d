//! Protocol vectors: the JSON files in `tests/vectors/`, one module per file.
//!
//! `SURGETANK_VECTORS=dir` reads files of the same names from `dir` instead. A file that is missing, empty or holds a
//! field that no module understands is a failure: a vector that is not checked must not look like one that passed.

mod dsn;
mod otlp_retry;
mod rate_limits;
mod trace_context;

use std::collections::HashSet;
use std::fmt::Write as _;
use std::path::PathBuf;

use serde::de::DeserializeOwned;
use serde_json::Value;

/// Fields of a case that tell people where it comes from. They say nothing about what is to be expected.
const INFORMATION: [&str; 6] = [
    "normative",
    "note",
    "notes",
    "observed",
    "sdk_divergence",
    "source",
];

/// Runs `check` on every case of `file` and panics with the list of all that fail, by id.
///
/// A case is read as `C`, which denies unknown fields, without its id and [`INFORMATION`]. `settings` receives the
/// fields of the file beside `cases`.
fn run<S: DeserializeOwned, C: DeserializeOwned>(file: &str, check: impl Fn(&S, &C) -> Result<(), String>) {
    let directory = std::env::var_os("SURGETANK_VECTORS").map_or_else(
        || PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("vectors"),
        PathBuf::from,
    );
    let path = directory.join(file);
    let text = std::fs::read_to_string(&path)
        .unwrap_or_else(|error| panic!("vector file {} cannot be read: {error}", path.display()));
    let mut head: serde_json::Map<String, Value> = serde_json::from_str(&text)
        .unwrap_or_else(|error| panic!("vector file {} is not a JSON object: {error}", path.display()));
    let mut cases = match head.remove("cases") {
        Some(Value::Array(cases)) if !cases.is_empty() => cases,
        _ => panic!("vector file {} holds no cases", path.display()),
    };
    if let Some(count) = head.remove("count") {
        assert_eq!(
            count,
            cases.len(),
            "{}: `count` is not the number of cases",
            path.display()
        );
    }
    let settings: S = serde_json::from_value(Value::Object(head))
        .unwrap_or_else(|error| panic!("vector file {}: unknown shape: {error}", path.display()));

    let mut seen = HashSet::new();
    let mut failures = String::new();
    let mut failed = 0_usize;
    for (position, case) in cases.iter_mut().enumerate() {
        let id = case["id"]
            .as_str()
            .map_or_else(|| format!("case {position}"), str::to_owned);
        if let Some(fields) = case.as_object_mut() {
            fields.retain(|name, _| name != "id" && !INFORMATION.contains(&name.as_str()));
        }
        let duplicate = !seen.insert(id.clone());
        let outcome = if duplicate {
            Err("the id occurs twice".to_owned())
        } else {
            C::deserialize(&*case)
                .map_err(|error| format!("cannot be interpreted: {error}"))
                .and_then(|case| check(&settings, &case))
        };
        if let Err(what) = outcome {
            failed += 1;
            let _ = writeln!(failures, "  {id}: {}", what.replace('\n', "\n    "));
        }
    }
    assert!(
        failed == 0,
        "{failed} of {} cases of {} fail:\n{failures}",
        cases.len(),
        path.display()
    );
}

/// `Ok` when both are equal, otherwise both, under the name of the field.
fn same<T: PartialEq + std::fmt::Debug>(field: &str, expected: &T, actual: &T) -> Result<(), String> {
    if expected == actual {
        Ok(())
    } else {
        Err(format!("{field}: expected {expected:?}, got {actual:?}"))
    }
}
