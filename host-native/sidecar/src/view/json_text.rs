//! JSON laid out anew without being rewritten: members keep their order, numbers their digits, strings their escapes.

use serde::de::IgnoredAny;
use std::fmt::Write;

/// Levels of nesting that are laid out; with more the indentation alone would be the most of it.
const MAX_DEPTH: usize = 128;

/// The same value with one member a line; `None` when `bytes` is no JSON value, or nested too deep.
pub(crate) fn pretty(bytes: &[u8]) -> Option<String> {
    valid(bytes).and_then(|text| lay_out(text, Some(2)))
}

/// The same value on one line without spaces; `None` when `bytes` is no JSON value, or nested too deep.
pub(crate) fn compact(bytes: &[u8]) -> Option<String> {
    valid(bytes).and_then(|text| lay_out(text, None))
}

fn valid(bytes: &[u8]) -> Option<&str> {
    serde_json::from_slice::<IgnoredAny>(bytes).ok()?;
    std::str::from_utf8(bytes).ok()
}

/// `text` must be valid JSON.
fn lay_out(text: &str, indent: Option<usize>) -> Option<String> {
    let mut out = String::with_capacity(text.len() * 2);
    let mut depth = 0usize;
    let mut in_string = false;
    let mut escaped = false;
    let mut chars = text.chars().peekable();
    let line = |out: &mut String, depth: usize| {
        if let Some(width) = indent {
            out.push('\n');
            out.extend(std::iter::repeat_n(' ', depth * width));
        }
    };
    while let Some(c) = chars.next() {
        if in_string {
            // The same character, spelled so that a terminal does not obey it.
            if c.is_control() {
                let _ = write!(out, "\\u{:04x}", u32::from(c));
            } else {
                out.push(c);
            }
            in_string = escaped || c != '"';
            escaped = !escaped && c == '\\';
            continue;
        }
        match c {
            ' ' | '\t' | '\n' | '\r' => {}
            '"' => {
                in_string = true;
                out.push(c);
            }
            '{' | '[' => {
                out.push(c);
                while chars.next_if(|c| c.is_ascii_whitespace()).is_some() {}
                if let Some(close) = chars.next_if(|c| matches!(c, '}' | ']')) {
                    out.push(close);
                } else {
                    depth += 1;
                    if depth > MAX_DEPTH {
                        return None;
                    }
                    line(&mut out, depth);
                }
            }
            '}' | ']' => {
                depth = depth.saturating_sub(1);
                line(&mut out, depth);
                out.push(c);
            }
            ',' => {
                out.push(c);
                line(&mut out, depth);
            }
            ':' => {
                out.push(c);
                if indent.is_some() {
                    out.push(' ');
                }
            }
            other => out.push(other),
        }
    }
    Some(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn layout_changes_and_nothing_else() {
        let text = b" {\"b\" : 1.50e3,\"a\":[ ] , \"c\":{ \"d\" :[true,null,\"x, \\\" {y}: \\\\\"]}} ";
        assert_eq!(
            pretty(text).unwrap(),
            "{\n  \"b\": 1.50e3,\n  \"a\": [],\n  \"c\": {\n    \"d\": [\n      true,\n      null,\n      \
             \"x, \\\" {y}: \\\\\"\n    ]\n  }\n}"
        );
        assert_eq!(
            compact(text).unwrap(),
            "{\"b\":1.50e3,\"a\":[],\"c\":{\"d\":[true,null,\"x, \\\" {y}: \\\\\"]}}"
        );
    }

    #[test]
    fn control_characters_stay_the_same_value_but_cannot_act() {
        let text = "[\"\u{7f}\u{9b}31m\"]";
        let laid_out = compact(text.as_bytes()).unwrap();
        assert_eq!(laid_out, "[\"\\u007f\\u009b31m\"]");
        let value = |text: &str| serde_json::from_str::<serde_json::Value>(text).unwrap();
        assert_eq!(value(&laid_out), value(text));
    }

    #[test]
    fn what_is_no_json_is_left_to_others() {
        assert_eq!(pretty(b"{"), None);
        assert_eq!(pretty(b"\xff"), None);
        let deep = |levels: usize| "[".repeat(levels) + "1" + &"]".repeat(levels);
        assert!(pretty(deep(128).as_bytes()).is_some());
        assert_eq!(pretty(deep(129).as_bytes()), None);
    }
}
