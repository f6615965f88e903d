//! Where two traces part, for people to read.

/// Lines shown before the one that matters.
const CONTEXT: usize = 6;

/// Where two traces part: the lines before it, and what each has there. `None` when they are equal byte for byte.
#[must_use]
pub fn difference(expected: &str, found: &str) -> Option<String> {
    if expected == found {
        return None;
    }
    let (mut one, mut other) = (expected.lines(), found.lines());
    let mut before: Vec<&str> = Vec::new();
    for number in 1.. {
        let (one, other) = (one.next(), other.next());
        if one != other || one.is_none() {
            let mut text = format!("the trace differs from line {number} on\n");
            text.push_str(&indented(&before));
            let end = "(the end)";
            text.push_str(&format!("expected: {}\n", one.unwrap_or(end)));
            text.push_str(&format!("found:    {}\n", other.unwrap_or(end)));
            return Some(text);
        }
        before.extend(one);
    }
    None
}

/// The end of a trace that goes no further.
#[must_use]
pub(crate) fn last_lines(trace: &str) -> String {
    indented(&trace.lines().collect::<Vec<_>>())
}

/// The last few of `lines`, below one another.
fn indented(lines: &[&str]) -> String {
    let from = lines.len().saturating_sub(CONTEXT);
    lines[from..]
        .iter()
        .map(|line| format!("          {line}\n"))
        .collect()
}
