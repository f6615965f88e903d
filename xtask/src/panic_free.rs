//! The proof that no panic is reachable: a WebAssembly module that drives the core and must need nothing from outside.
//!
//! The crate `tests/panic-free` has a panic handler whose only act is to call an import. Built with fat link-time
//! optimisation, the import stays exactly when some path to a panic could not be ruled out, so an empty import list
//! is the proof (for this compiler and profile, which is why the toolchain is pinned). That the module links at all
//! shows that nothing allocates: it has no allocator.
//!
//! When the proof fails, the calls that lead to the handler are named with their source lines, from the module's own
//! name section and debug information.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use anyhow::{Context, Result, bail, ensure};
use gimli::{Dwarf, EndianSlice, LittleEndian};
use wasmparser::{KnownCustom, Name, Operator, Parser, Payload, TypeRef};

use crate::command::{root, target};

/// Builds the module.
pub(crate) const BUILD: &str =
    "cargo build --package surgetank-panic-free --target wasm32-unknown-unknown --profile panic-free";

const MODULE: &str = "wasm32-unknown-unknown/panic-free/surgetank_panic_free.wasm";
const HANDLER: (&str, &str) = ("must_not_link", "panic_reachable");

/// Checks the module that [`BUILD`] made.
///
/// # Errors
/// The imports that are there; for the panic handler, where it is reached from.
pub(crate) fn check() -> Result<()> {
    let path = target().join(MODULE);
    let bytes = std::fs::read(&path).with_context(|| format!("could not read {}", path.display()))?;
    let module = Module::read(&bytes)?;
    ensure!(
        module.exports > 0,
        "the module exports no function, so it shows nothing"
    );
    module.check_imports(&[])?;
    println!(
        "no import; {} exported functions, {} bytes",
        module.exports,
        bytes.len()
    );
    Ok(())
}

/// What the check needs of a module: imports, calls between functions, names, debug information.
pub(crate) struct Module<'a> {
    /// Module, name, and function index when the import is a function.
    imports: Vec<(&'a str, &'a str, Option<u32>)>,
    pub(crate) exports: usize,
    /// Bytes of initialized data.
    pub(crate) data_bytes: usize,
    /// Callee to its callers, each with the call's offset in the code section.
    callers: BTreeMap<u32, Vec<(u32, u64)>>,
    names: BTreeMap<u32, String>,
    /// Bytes of each function's code.
    bodies: BTreeMap<u32, usize>,
    debug: BTreeMap<&'a str, &'a [u8]>,
}

impl<'a> Module<'a> {
    pub(crate) fn read(bytes: &'a [u8]) -> Result<Self> {
        let mut module = Module {
            imports: Vec::new(),
            exports: 0,
            data_bytes: 0,
            callers: BTreeMap::new(),
            names: BTreeMap::new(),
            bodies: BTreeMap::new(),
            debug: BTreeMap::new(),
        };
        let (mut functions, mut code_start) = (0_u32, 0_u64);
        for payload in Parser::new(0).parse_all(bytes) {
            match payload? {
                Payload::ImportSection(section) => {
                    for import in section.into_imports() {
                        let import = import?;
                        let is_function = matches!(import.ty, TypeRef::Func(_));
                        module
                            .imports
                            .push((import.module, import.name, is_function.then_some(functions)));
                        functions += u32::from(is_function);
                    }
                }
                Payload::ExportSection(section) => {
                    for export in section {
                        module.exports += usize::from(export?.kind == wasmparser::ExternalKind::Func);
                    }
                }
                Payload::DataSection(section) => {
                    for data in section {
                        module.data_bytes += data?.data.len();
                    }
                }
                Payload::CodeSectionStart { unchecked_range, .. } => code_start = unchecked_range.start,
                Payload::CodeSectionEntry(body) => {
                    module.bodies.insert(functions, body.as_bytes().len());
                    for operator in body.get_operators_reader()?.into_iter_with_offsets() {
                        let (operator, offset) = operator?;
                        if let Operator::Call { function_index } | Operator::ReturnCall { function_index } =
                            operator
                        {
                            module
                                .callers
                                .entry(function_index)
                                .or_default()
                                .push((functions, offset - code_start));
                        }
                    }
                    functions += 1;
                }
                Payload::CustomSection(section) => match section.as_known() {
                    KnownCustom::Name(names) => module.read_names(names)?,
                    _ if section.name().starts_with(".debug_") => {
                        module.debug.insert(section.name(), section.data());
                    }
                    _ => {}
                },
                _ => {}
            }
        }
        Ok(module)
    }

    fn read_names(&mut self, names: wasmparser::NameSectionReader<'a>) -> Result<()> {
        for group in names {
            if let Name::Function(map) = group? {
                for naming in map {
                    let naming = naming?;
                    let name = rustc_demangle::demangle(naming.name);
                    self.names.insert(naming.index, format!("{name:#}"));
                }
            }
        }
        Ok(())
    }

    /// Checks that every import is of one of these host modules.
    ///
    /// # Errors
    /// The others; for the panic handler, where it is reached from.
    pub(crate) fn check_imports(&self, hosts: &[&str]) -> Result<()> {
        let strange: Vec<_> = self
            .imports
            .iter()
            .filter(|(module, ..)| !hosts.contains(module))
            .collect();
        if strange.is_empty() {
            return Ok(());
        }
        let mut report = String::from("the module has imports that no host of it has:");
        for (module, name, _) in strange {
            report.push_str(&format!("\n  {module}.{name}"));
        }
        for line in self.ways_to_the_handler()? {
            report.push_str(&format!("\n  {line}"));
        }
        bail!(report)
    }

    /// Names of functions, as far as the module tells them.
    pub(crate) fn function_names(&self) -> impl Iterator<Item = &str> {
        self.names.values().map(String::as_str)
    }

    /// Names of functions with the bytes of their code.
    pub(crate) fn function_bytes(&self) -> impl Iterator<Item = (&str, usize)> {
        self.bodies
            .iter()
            .map(|(function, bytes)| (self.name(*function), *bytes))
    }

    fn name(&self, function: u32) -> &str {
        self.names.get(&function).map_or("(no name)", String::as_str)
    }

    /// One line for each call, in code that is not the language's own, from which the panic handler can be reached.
    fn ways_to_the_handler(&self) -> Result<BTreeSet<String>> {
        let handler = self
            .imports
            .iter()
            .find(|(module, name, _)| (*module, *name) == HANDLER);
        let mut open: Vec<u32> = handler.and_then(|(_, _, index)| *index).into_iter().collect();
        let mut seen: BTreeSet<u32> = open.iter().copied().collect();
        let context = addr2line::Context::from_dwarf(Dwarf::load(|section| {
            let data = self.debug.get(section.name()).copied().unwrap_or_default();
            Ok::<_, gimli::Error>(EndianSlice::new(data, LittleEndian))
        })?)?;
        let mut lines = BTreeSet::new();
        while let Some(callee) = open.pop() {
            for (caller, at) in self.callers.get(&callee).into_iter().flatten() {
                if is_panic_machinery(self.name(*caller)) {
                    if seen.insert(*caller) {
                        open.push(*caller);
                    }
                } else {
                    let place = own_source_line(&context, *at).unwrap_or_else(|| "unknown line".to_owned());
                    lines.insert(format!(
                        "{place}: {} calls {}",
                        self.name(*caller),
                        self.name(callee)
                    ));
                }
            }
        }
        Ok(lines)
    }
}

/// True for functions of the language's own libraries and the handler itself: their callers are what matters.
fn is_panic_machinery(name: &str) -> bool {
    [
        "core::",
        "<core::",
        "__rustc",
        "rust_begin_unwind",
        "surgetank_panic_free::panic",
        "surgetank_module::handler::panic",
        "surgetank_proxy::abi::panic",
    ]
    .iter()
    .any(|start| name.starts_with(start))
}

/// The innermost line of this repository (or of a dependency) among those that were inlined at `at`.
fn own_source_line(context: &addr2line::Context<EndianSlice<'_, LittleEndian>>, at: u64) -> Option<String> {
    let mut frames = context.find_frames(at).skip_all_loads().ok()?;
    while let Ok(Some(frame)) = frames.next() {
        let Some(location) = frame.location else { continue };
        let Some(file) = location.file else { continue };
        if !file.contains("/rustc/") && !file.contains("/rustlib/") {
            let short = Path::new(file)
                .strip_prefix(root())
                .unwrap_or(Path::new(file))
                .display();
            return Some(format!("{short}:{}", location.line.unwrap_or(0)));
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What the check says of a module in text form.
    fn verdict(module: &str) -> Result<Vec<String>> {
        let bytes = wat::parse_str(module)?;
        let module = Module::read(&bytes)?;
        Ok(module.ways_to_the_handler()?.into_iter().collect())
    }

    const HANDLED: &str = r#"(module
        (import "must_not_link" "panic_reachable" (func $surgetank_panic_free::panic_reachable))
        (func $core::panicking::panic_fmt (call $surgetank_panic_free::panic_reachable))
        (func $core::panicking::panic_bounds_check (call $core::panicking::panic_fmt))
        (func $surgetank_core::first (call $core::panicking::panic_bounds_check))
        (func $surgetank_core::second (call $surgetank_core::first))
        (func (export "run") (call $surgetank_core::second)))"#;

    #[test]
    fn the_function_that_enters_the_panic_machinery_is_named_and_its_callers_are_not() {
        assert_eq!(
            verdict(HANDLED).unwrap(),
            ["unknown line: surgetank_core::first calls core::panicking::panic_bounds_check"]
        );
    }

    #[test]
    fn imports_and_exported_functions_are_seen() {
        let bytes = wat::parse_str(HANDLED).unwrap();
        let module = Module::read(&bytes).unwrap();
        assert_eq!(module.imports, [("must_not_link", "panic_reachable", Some(0))]);
        assert_eq!(module.exports, 1);
    }

    #[test]
    fn another_import_leads_nowhere() {
        assert!(
            verdict(r#"(module (import "env" "now" (func $now)) (func $f (call $now)))"#)
                .unwrap()
                .is_empty()
        );
    }
}
