//! How a [`Header`] is laid out in bytes, as in the queue's blocks. (The intake's ring holds headers as they are.)
//!
//! Little-endian, fixed size, no padding left unset:
//!
//! | bytes | |
//! |---|---|
//! | 0 | category |
//! | 1 | second category, 255 for none |
//! | 2 | priority |
//! | 3 | form |
//! | 4..8 | destination |
//! | 8..12 | quantity |
//! | 12..16 | second quantity |
//! | 16..24 | trace key |
//! | 24..31 | category set |
//! | 31 | origin |

use crate::item::{Category, CategorySet, Count, DestinationId, Form, Header, Priority, TraceKey};

/// Encoded size of a [`Header`], in bytes.
pub const HEADER_BYTES: usize = 32;

const NO_CATEGORY: u8 = u8::MAX;

/// Where the origin stands in the last word; the categories lie below it.
const ORIGIN_SHIFT: u32 = 56;
const _: () = assert!(Category::COUNT <= ORIGIN_SHIFT as usize);

/// Writes `header` in its fixed layout: four words.
#[must_use]
#[inline]
pub fn encode(header: &Header) -> [u8; HEADER_BYTES] {
    let (also_category, also_quantity) = match header.also {
        Some(also) => (also.category as u8, also.quantity),
        None => (NO_CATEGORY, 0),
    };
    let kind = u32::from_le_bytes([
        header.count.category as u8,
        also_category,
        header.priority as u8,
        header.form as u8,
    ]);
    let words = [
        u64::from(kind) | u64::from(header.destination.bits()) << 32,
        u64::from(header.count.quantity) | u64::from(also_quantity) << 32,
        header.trace.0,
        header.categories.bits() | u64::from(header.origin) << ORIGIN_SHIFT,
    ];
    let mut bytes = [0; HEADER_BYTES];
    let (chunks, _) = bytes.as_chunks_mut();
    for (chunk, word) in chunks.iter_mut().zip(words) {
        *chunk = word.to_le_bytes();
    }
    bytes
}

/// Reads what [`encode`] wrote; `None` when a number names nothing, which only corrupted memory can cause.
#[must_use]
#[cfg_attr(any(target_arch = "wasm32", target_os = "none"), inline(never))]
#[cfg_attr(not(any(target_arch = "wasm32", target_os = "none")), inline)]
pub fn decode(bytes: &[u8; HEADER_BYTES]) -> Option<Header> {
    let mut words = [0; 4];
    let (chunks, _) = bytes.as_chunks();
    for (word, chunk) in words.iter_mut().zip(chunks) {
        *word = u64::from_le_bytes(*chunk);
    }
    let [kind, quantities, trace, categories] = words;
    let [category, also_category, priority, form] = (kind as u32).to_le_bytes();
    let also = if also_category == NO_CATEGORY {
        None
    } else {
        Some(Count {
            category: Category::from_number(also_category)?,
            quantity: (quantities >> 32) as u32,
        })
    };
    Some(Header {
        count: Count {
            category: Category::from_number(category)?,
            quantity: quantities as u32,
        },
        also,
        categories: CategorySet::from_bits(categories),
        priority: Priority::from_index(priority)?,
        form: Form::from_number(form)?,
        destination: DestinationId::from_bits((kind >> 32) as u32),
        trace: TraceKey(trace),
        origin: origin_of(categories),
    })
}

/// The origin in the last of a header's four words.
#[must_use]
#[inline]
pub const fn origin_of(last_word: u64) -> u8 {
    (last_word >> ORIGIN_SHIFT) as u8
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_header_survives_the_round_trip() {
        for category in Category::ALL {
            for form in (0..6).filter_map(Form::from_number) {
                let header = Header::new(DestinationId::new(7, 9), form, category, 41)
                    .also(Category::Span, u32::MAX)
                    .in_trace(TraceKey(u64::MAX - 1))
                    .from_origin(201);
                assert_eq!(decode(&encode(&header)), Some(header));
                let plain = Header::new(DestinationId::default(), form, category, 0);
                assert_eq!(decode(&encode(&plain)), Some(plain));
            }
        }
    }

    #[test]
    fn corrupted_bytes_are_refused_not_trusted() {
        let good = encode(&Header::new(
            DestinationId::default(),
            Form::Item,
            Category::Error,
            1,
        ));
        for at in 0..4 {
            let mut bad = good;
            bad[at] = 200;
            assert_eq!(decode(&bad), None, "byte {at}");
        }
    }
}
