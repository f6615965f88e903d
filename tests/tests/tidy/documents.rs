//! Rules on what is written for people: links, versions, the changelog, words.

use std::collections::BTreeSet;

use crate::{File, assert_none, files, files_ending, root, text_of};

/// Kinds of entries in the changelog.
const KINDS: &[&str] = &["Added", "Changed", "Fixed", "Removed", "Security"];

/// Marks of unfinished work and of one person's machine; each is given in two parts so that this list has none.
const UNWANTED: &[(&str, &str)] = &[
    ("TO", "DO"),
    ("FIX", "ME"),
    ("XX", "X"),
    ("../sha", "red"),
    ("/wo", "rk/"),
    ("/ro", "ot/"),
    ("/tm", "p/"),
    ("/ho", "me/"),
    (".lib", "rary/"),
    ("fact she", "et"),
];

#[test]
fn links_in_documents_lead_somewhere() {
    let documents = files_ending(".md");
    assert!(
        documents.len() >= 3,
        "README, CONTRIBUTING and CHANGELOG at least"
    );
    assert_none(documents.iter().flat_map(broken_links));
}

#[test]
fn a_broken_link_is_found() {
    let document = |text: &str| File {
        path: "README.md".to_owned(),
        text: text.to_owned(),
    };
    assert_eq!(
        broken_links(&document(
            "[a](no-such-file.md) and [b](CONTRIBUTING.md#no-such-heading)"
        ))
        .len(),
        2
    );
    assert_eq!(broken_links(&document("# Here\n[a](#there)")).len(), 1);
    assert!(
        broken_links(&document(
            "# Over here\n[a](#over-here) [b](https://example.org) [c](Cargo.toml)"
        ))
        .is_empty()
    );
}

#[test]
fn the_readme_names_the_oldest_compiler_of_the_manifest() {
    let manifest = text_of("Cargo.toml");
    let version = value_of(&manifest, "rust-version").expect("the workspace has a rust-version");
    assert!(
        text_of("README.md").contains(&format!("Rust {version}")),
        "README does not say Rust {version}"
    );
    let pinned = text_of("rust-toolchain.toml");
    let channel = value_of(&pinned, "channel").expect("the toolchain is pinned");
    assert!(
        channel.starts_with(version),
        "the checks run with {channel}, the manifest says {version}"
    );
}

#[test]
fn the_changelog_has_an_open_head_and_groups_by_kind() {
    let text = text_of("CHANGELOG.md");
    let first = text.lines().find_map(|line| line.strip_prefix("## "));
    assert_eq!(first, Some("Unreleased"));
    let kinds = text.lines().filter_map(|line| line.strip_prefix("### "));
    assert_none(
        kinds
            .filter(|kind| !KINDS.contains(kind))
            .map(|kind| format!("CHANGELOG.md: unknown kind {kind}")),
    );
}

#[test]
fn nothing_unfinished_or_personal_is_committed() {
    let unwanted: Vec<String> = UNWANTED
        .iter()
        .map(|(start, end)| [*start, *end].concat())
        .collect();
    assert_none(
        files()
            .into_iter()
            .filter(|file| !file.path.ends_with(".lock"))
            .flat_map(|file| {
                let found: Vec<String> = (1..)
                    .zip(file.text.lines())
                    .filter_map(|(number, line)| {
                        let word = unwanted.iter().find(|word| line.contains(word.as_str()))?;
                        Some(format!("{}:{number}: `{word}`", file.path))
                    })
                    .collect();
                found
            }),
    );
}

/// The quoted value of `name = "value"`.
fn value_of<'a>(manifest: &'a str, name: &str) -> Option<&'a str> {
    let line = manifest
        .lines()
        .find(|line| line.split('=').next().is_some_and(|key| key.trim() == name))?;
    line.split('"').nth(1)
}

fn broken_links(document: &File) -> Vec<String> {
    let folder = root()
        .join(&document.path)
        .parent()
        .map(ToOwned::to_owned)
        .unwrap_or_default();
    let targets = document
        .text
        .split("](")
        .skip(1)
        .filter_map(|after| after.split(')').next());
    targets
        .filter(|target| !target.contains("://") && !target.starts_with("mailto:"))
        .filter(|target| {
            let (path, heading) = target
                .split_once('#')
                .map_or((*target, None), |(path, heading)| (path, Some(heading)));
            let text = match path {
                "" => Some(document.text.clone()),
                path if heading.is_some() => std::fs::read_to_string(folder.join(path)).ok(),
                path => folder.join(path).exists().then(String::new),
            };
            !text.is_some_and(|text| heading.is_none_or(|heading| headings(&text).contains(heading)))
        })
        .map(|target| format!("{}: {target} leads nowhere", document.path))
        .collect()
}

/// The names by which a document's headings can be linked to.
fn headings(text: &str) -> BTreeSet<String> {
    let titles = text
        .lines()
        .filter(|line| line.starts_with('#'))
        .map(|line| line.trim_start_matches('#').trim());
    let slug = |title: &str| -> String {
        let kept = title
            .chars()
            .filter(|one| one.is_alphanumeric() || matches!(one, ' ' | '-' | '_'));
        kept.map(|one| if one == ' ' { '-' } else { one.to_ascii_lowercase() })
            .collect()
    };
    titles.map(slug).collect()
}
