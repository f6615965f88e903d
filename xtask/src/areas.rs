//! Where the bytes of a module are: its functions' code, summed up by the part of the source they come from.
//!
//! What the compiler put into its caller counts there, so this tells which part to look at, not what would go with it.

use std::collections::BTreeMap;

use crate::panic_free::Module;

/// Areas below this share of the code, in percent, are summed up in one line.
const LEAST_PERCENT: usize = 1;

/// Lines of a table: area, bytes, percent of all code; the largest first.
pub(crate) fn table(module: &Module<'_>) -> Vec<String> {
    let mut areas: BTreeMap<String, usize> = BTreeMap::new();
    for (name, bytes) in module.function_bytes() {
        *areas.entry(area(name)).or_default() += bytes;
    }
    let all: usize = areas.values().sum();
    let (mut large, small): (Vec<_>, Vec<_>) = areas
        .into_iter()
        .partition(|(_, bytes)| bytes * 100 >= all * LEAST_PERCENT);
    large.sort_by_key(|(_, bytes)| std::cmp::Reverse(*bytes));
    let rest = format!("{} others", small.len());
    large.push((rest, small.iter().map(|(_, bytes)| bytes).sum()));
    large
        .into_iter()
        .map(|(area, bytes)| format!("  {area:<36} {bytes:>7} {:>3} %", bytes * 100 / all.max(1)))
        .collect()
}

/// The crate and module that a function's name begins with; two modules deep where the core's formats lie.
fn area(name: &str) -> String {
    let path = name.trim_start_matches(['<', '&', '[']);
    let path = path
        .split([' ', '<', '>', '{', '[', ']'])
        .next()
        .unwrap_or_default();
    let deep = match path {
        _ if path.starts_with("surgetank_core::wire::") => 3,
        _ if path.starts_with("surgetank") => 2,
        _ => 1,
    };
    let parts: Vec<&str> = path
        .split("::")
        .filter(|part| !part.is_empty())
        .take(deep)
        .collect();
    parts.join("::")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_function_belongs_to_the_module_it_is_written_in() {
        for (name, expected) in [
            ("surgetank_core::engine::Core::poll", "surgetank_core::engine"),
            (
                "surgetank_core::engine::admit::<impl surgetank_core::engine::Core>::keep",
                "surgetank_core::engine",
            ),
            (
                "<surgetank_core::wire::rate_limits::Groups as core::iter::Iterator>::next",
                "surgetank_core::wire::rate_limits",
            ),
            (
                "surgetank_module::exports::surgetank_poll::{{closure}}",
                "surgetank_module::exports",
            ),
            ("<[T] as core::slice::SpecFill<T>>::spec_fill", "T"),
            ("core::str::converts::from_utf8", "core"),
            ("core[c5930c85a12de822]::str::converts::from_utf8", "core"),
        ] {
            assert_eq!(area(name), expected, "{name}");
        }
    }

    #[test]
    fn the_shares_are_of_all_code_and_what_is_small_is_one_line() {
        let text = format!(
            "(module (func $surgetank_core::gate::ask {}) (func $core::fill nop))",
            "i32.const 1 drop ".repeat(100)
        );
        let bytes = wat::parse_str(text).unwrap();
        let table = table(&Module::read(&bytes).unwrap());
        assert_eq!(table.len(), 2, "{table:?}");
        assert!(
            table[0].contains("surgetank_core::gate") && table[0].ends_with("99 %"),
            "{table:?}"
        );
        assert!(table[1].contains("1 others"), "{table:?}");
    }
}
