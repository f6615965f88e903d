//! A part of events that never changes, as JSON that is made once.
//!
//! The `sentry` crate lists the program's modules once and lends that list to every event: as much text as all the rest of a
//! small one. What is borrowed for `'static` and has no interior mutability is the same at every later look, so its
//! address stands for its text. Nobody waits here: threads that come first at the same time each make the text, one is kept.

use core::ptr;

use once_cell::race::OnceBox;
use sentry_core::protocol::DebugMeta;

/// Lists that are kept, for as long as the process lives. The crate has one; more are of integrations of the program's own.
const MAX_KEPT: usize = 4;

/// Most bytes of a text that is kept; a module takes some 300.
const MAX_KEPT_BYTES: usize = 256 * 1024;

struct Kept {
    of: &'static DebugMeta,
    /// Empty when it is longer than may be kept.
    json: Box<[u8]>,
}

type Table = [OnceBox<Kept>; MAX_KEPT];

static KEPT: Table = empty();

const fn empty() -> Table {
    [const { OnceBox::new() }; MAX_KEPT]
}

/// What `serde_json` writes for `meta`; `None` when that is not kept.
pub(super) fn debug_meta(meta: &'static DebugMeta) -> Option<&'static [u8]> {
    kept_in(&KEPT, meta)
}

fn kept_in<'t>(table: &'t Table, meta: &'static DebugMeta) -> Option<&'t [u8]> {
    let mut kept = table.iter().map(|place| place.get_or_init(|| make(meta)));
    let kept = kept.find(|kept| ptr::eq(kept.of, meta))?;
    (!kept.json.is_empty()).then_some(&kept.json)
}

#[cold]
fn make(meta: &'static DebugMeta) -> Box<Kept> {
    let json = serde_json::to_vec(meta).unwrap_or_default();
    let json = if json.len() > MAX_KEPT_BYTES {
        Vec::new()
    } else {
        json
    };
    Box::new(Kept {
        of: meta,
        json: json.into_boxed_slice(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    use sentry_core::protocol::{DebugImage, ProguardDebugImage};
    use sentry_core::types::Uuid;

    fn leaked(images: usize) -> &'static DebugMeta {
        let uuid = Uuid::from_bytes([7; 16]);
        Box::leak(Box::new(DebugMeta {
            images: vec![DebugImage::Proguard(ProguardDebugImage { uuid }); images],
            ..DebugMeta::default()
        }))
    }

    #[test]
    fn a_few_texts_are_kept_and_each_is_its_own() {
        let (table, lists) = (empty(), [1, 2, 100_000, 3, 4].map(leaked));
        for _ in 0..2 {
            let texts = lists.map(|list| kept_in(&table, list));
            for (at, (list, text)) in lists.iter().zip(texts).enumerate() {
                // The third is too long, and for the last no place is left.
                let expected = (at != 2 && at != 4).then(|| serde_json::to_vec(list).unwrap());
                assert_eq!(text, expected.as_deref(), "{at}");
            }
        }
    }
}
