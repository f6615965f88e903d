//! Whatever is called with whatever: an answer or an error by number, never a trap, and books that balance.

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;

use surgetank_hosts::Wasmtime;
use surgetank_hosts::door::{Compiled, STACK_MOST};
use surgetank_hosts::frame::{Door as _, Frame, Number, Output};

/// Functions with the widths of their arguments: 4 or 8 bytes.
const SIGNATURES: &[(&str, &[u8])] = &[
    ("init", &[4, 8, 8]),
    ("open", &[4, 8]),
    ("record", &[4, 8]),
    ("record_whole", &[4, 4, 4, 4, 8]),
    ("losses", &[8, 4, 4, 8, 8]),
    ("poll", &[8]),
    ("body", &[8, 8, 8, 4]),
    ("response", &[8, 4, 8]),
    ("failure", &[8, 4, 8]),
    ("probe", &[4, 8, 8]),
    ("flush", &[8]),
    ("is_flushed", &[8]),
    ("close", &[8, 8]),
    ("gate", &[4, 8]),
    ("health", &[]),
    ("status", &[]),
    ("figures", &[]),
    ("totals", &[]),
    ("held", &[]),
    ("destination", &[4]),
    ("explain", &[]),
    ("export", &[]),
    ("export_cancel", &[]),
    ("import", &[4, 8]),
    ("import_end", &[8]),
];

/// One step of a careless host.
#[derive(Clone, Debug)]
struct Step {
    function: usize,
    numbers: Vec<i64>,
    /// Put at the start of the window; what lay there before stays behind it.
    input: Vec<u8>,
    /// The length is that of the input, instead of a number from `numbers`.
    is_true: bool,
}

fn number() -> impl Strategy<Value = i64> {
    prop_oneof![
        4 => 0..40i64,
        2 => (0..4i64).prop_map(|generation| generation << 32),
        2 => (0..400i64).prop_map(|seconds| seconds * 1_000_000),
        1 => select(vec![-1, i64::MIN, i64::MAX, 0xFFFF_FFFF, 0x7FFF_FFFF, 65_600, 1 << 20]),
        1 => any::<i64>(),
    ]
}

fn field(tag: u32, value: &[u8]) -> Vec<u8> {
    [&tag.to_le_bytes()[..], &(value.len() as u32).to_le_bytes(), value].concat()
}

/// Inputs as they should be, which mutation then spoils.
fn input() -> impl Strategy<Value = Vec<u8>> {
    let setting = (prop_oneof![0..90u32, any::<u32>()], vec(any::<u8>(), 0..9));
    let fields = vec(setting, 0..6).prop_map(|row| {
        row.iter()
            .flat_map(|(tag, value)| field(*tag, value))
            .collect::<Vec<u8>>()
    });
    let header = (0..42u8, 0..6u8, 0..7u8, 0..3u32, 0..5u32, any::<u64>());
    let record =
        (header, 0..3000usize).prop_map(|((category, priority, form, to, quantity, trace), fill)| {
            let mut bytes = vec![category, 255, priority, form];
            bytes.extend(to.to_le_bytes());
            bytes.extend(quantity.to_le_bytes());
            bytes.extend([0; 4]);
            bytes.extend(trace.to_le_bytes());
            bytes.extend((1u64 << category.min(39)).to_le_bytes());
            bytes.extend(vec![b'x'; fill]);
            bytes
        });
    let envelope = select(vec![
        "{}\n{\"type\":\"event\"}\n{}\n",
        "{}\n{\"type\":\"event\"}\n{}\n{\"type\":\"attachment\",\"length\":3}\nabc\n",
        "{}\n{\"type\":\"log\",\"item_count\":2}\n{\"items\":[{},{}]}\n",
        "{\"resourceSpans\":[{\"scopeSpans\":[{\"spans\":[{}]}]}]}",
    ])
    .prop_map(|text| text.as_bytes().to_vec());
    let answer = select(vec![200u16, 429, 503, 413, 400, 0]).prop_map(|status| {
        let limits = field(4, b"60:error;transaction:organization");
        [field(1, &status.to_le_bytes()), field(3, b"5"), limits].concat()
    });
    let piece = (0..9u32, vec(0..4u8, 0..80)).prop_map(|(kind, bytes)| {
        let mut piece = kind.to_le_bytes().to_vec();
        piece.extend(bytes);
        piece
    });
    prop_oneof![
        2 => fields,
        4 => record,
        3 => envelope,
        2 => answer,
        2 => piece,
        1 => vec(any::<u8>(), 0..200),
        2 => Just(Vec::new()),
    ]
}

fn step() -> impl Strategy<Value = Step> {
    (
        0..SIGNATURES.len(),
        vec(number(), 5),
        input(),
        prop::bool::weighted(0.9),
    )
        .prop_map(|(function, numbers, input, is_true)| Step {
            function,
            numbers,
            input,
            is_true,
        })
}

/// An instance with two destinations, unless the settings are the steps' own business.
fn begun(compiled: &Compiled, settings: &[u8]) -> Wasmtime {
    let mut instance = compiled.instance().expect("an instance");
    for (function, input) in [("init", settings), ("open", &[]), ("open", &[])] {
        let mut numbers = vec![Number::Short(input.len() as i32), Number::Long(0)];
        if function == "init" {
            numbers.push(Number::Long(7));
        }
        let value = ask(&mut instance, function, numbers, input);
        assert!(value >= 0, "{function}: {value}");
    }
    instance
}

fn ask(instance: &mut Wasmtime, function: &'static str, numbers: Vec<Number>, input: &[u8]) -> i64 {
    let frame = Frame {
        function,
        numbers,
        input: input.to_vec(),
        output: Output::Bytes(0),
    };
    instance.call(&frame).expect("no call traps").value
}

fn small() -> Vec<u8> {
    [
        field(1, &16_384u32.to_le_bytes()),
        field(5, &4096u32.to_le_bytes()),
    ]
    .concat()
}

/// Recorded = delivered + dropped + held, in every category.
fn assert_balanced(instance: &mut Wasmtime) -> Result<(), TestCaseError> {
    let mut read = |function| {
        let frame = Frame {
            function,
            numbers: Vec::new(),
            input: Vec::new(),
            output: Output::Returned,
        };
        let bytes = instance.call(&frame).expect("no call traps").output;
        let words: Vec<u64> = bytes
            .chunks_exact(8)
            .map(|word| u64::from_le_bytes(word.try_into().expect("eight bytes")))
            .collect();
        words
    };
    let (totals, held) = (read("totals"), read("held"));
    let rows = (totals[0] & 0xFFFF_FFFF) as usize;
    let mut queued = vec![0; held.len()];
    for row in totals[3..].chunks_exact(4).take(rows) {
        queued[row[0] as usize] = row[1].wrapping_sub(row[2]).wrapping_sub(row[3]);
    }
    prop_assert_eq!(queued, held);
    Ok(())
}

/// Everything of `old` put into a new instance. Returns it, and what `import_end` said.
fn exchanged(compiled: &Compiled, old: &mut Wasmtime, now: i64) -> (Wasmtime, i64) {
    let mut new = compiled.instance().expect("an instance");
    let numbers = vec![
        Number::Short(small().len() as i32),
        Number::Long(now),
        Number::Long(8),
    ];
    assert_eq!(ask(&mut new, "init", numbers, &small()), 0);
    loop {
        let piece = old.call(&Frame {
            function: "export",
            numbers: Vec::new(),
            input: Vec::new(),
            output: Output::Returned,
        });
        let piece = piece.expect("the export is open").output;
        if piece.is_empty() {
            break;
        }
        let numbers = vec![Number::Short(piece.len() as i32), Number::Long(now)];
        ask(&mut new, "import", numbers, &piece);
    }
    let missing = ask(&mut new, "import_end", vec![Number::Long(now)], &[]);
    (new, missing)
}

fn carry_out(instance: &mut Wasmtime, step: &Step) -> (&'static str, i64) {
    let (function, widths) = SIGNATURES[step.function];
    let length_at = match function {
        "init" | "open" | "record" | "import" => Some(0),
        "record_whole" | "body" => Some(3),
        "response" => Some(1),
        _ => None,
    };
    let (_, size) = instance.window("input").expect("the window");
    let input = &step.input[..step.input.len().min(size)];
    let numbers = widths
        .iter()
        .zip(&step.numbers)
        .enumerate()
        .map(|(at, (width, number))| {
            let number = if step.is_true && Some(at) == length_at {
                input.len() as i64
            } else {
                *number
            };
            if *width == 4 {
                Number::Short(number as i32)
            } else {
                Number::Long(number)
            }
        });
    let value = ask(instance, function, numbers.collect(), input);
    (function, value)
}

fn cases(cases: u32) -> ProptestConfig {
    ProptestConfig {
        cases,
        failure_persistence: None,
        ..ProptestConfig::default()
    }
}

#[test]
fn no_sequence_of_calls_traps_or_unbalances_the_books() {
    let compiled = Compiled::shipped().expect("the module");
    proptest!(cases(250), |(steps in vec(step(), 1..80))| {
        let mut instance = begun(&compiled, &small());
        let size = instance.memory().len();
        let mut is_importing = false;
        for step in &steps {
            let (function, value) = carry_out(&mut instance, step);
            prop_assert!(value >= -11, "{} returned {}", function, value);
            is_importing |= function == "import" && value >= 0;
        }
        prop_assert_eq!(instance.memory().len(), size, "memory grew");
        prop_assert!(!is_importing, "an instance that runs takes over no state");
        prop_assert!(instance.stack_used() <= STACK_MOST, "{} bytes of stack", instance.stack_used());
        assert_balanced(&mut instance)?;
    });
}

#[test]
fn whatever_happened_the_next_instance_has_the_same_books() {
    let compiled = Compiled::shipped().expect("the module");
    proptest!(cases(120), |(steps in vec(step(), 1..80))| {
        let mut old = begun(&compiled, &small());
        for step in &steps {
            carry_out(&mut old, step);
        }
        ask(&mut old, "export_cancel", Vec::new(), &[]);
        let books = |instance: &mut Wasmtime| {
            ["totals", "held"].map(|function| {
                let frame = Frame {
                    function,
                    numbers: Vec::new(),
                    input: Vec::new(),
                    output: Output::Returned,
                };
                instance.call(&frame).expect("no call traps").output
            })
        };
        let before = books(&mut old);
        // Sums that no host reaches by counting one by one are cut down on the way.
        prop_assume!(largest(&before[0]) < 1 << 60);
        let (mut new, missing) = exchanged(&compiled, &mut old, 0);
        prop_assert_eq!(missing, 0);
        for one in [&mut old, &mut new] {
            prop_assert!(one.stack_used() <= STACK_MOST, "{} bytes of stack", one.stack_used());
        }
        prop_assert_eq!(books(&mut new), before);
        prop_assert_eq!(ask(&mut old, "export_cancel", Vec::new(), &[]), 0);
    });
}

/// The largest of the sums.
fn largest(totals: &[u8]) -> u64 {
    let words = totals.chunks_exact(8).skip(3);
    let words = words.map(|word| u64::from_le_bytes(word.try_into().expect("eight bytes")));
    words.max().unwrap_or_default()
}

#[test]
fn a_fresh_instance_survives_any_beginning_and_any_state() {
    let compiled = Compiled::shipped().expect("the module");
    proptest!(cases(200), |(settings in any::<bool>(), steps in vec(step(), 1..60))| {
        let mut instance = compiled.instance().expect("an instance");
        if settings {
            let numbers = vec![Number::Short(small().len() as i32), Number::Long(0), Number::Long(7)];
            prop_assert_eq!(ask(&mut instance, "init", numbers, &small()), 0);
        }
        for step in &steps {
            // An `init` with any settings may ask for more memory than a test should take.
            let step = Step { function: if settings { step.function.max(1) } else { step.function }, ..step.clone() };
            if !settings && SIGNATURES[step.function].0 == "init" && step.input.len() > 100 {
                continue;
            }
            let (function, value) = carry_out(&mut instance, &step);
            prop_assert!(value >= -11, "{} returned {}", function, value);
        }
        ask(&mut instance, "export_cancel", Vec::new(), &[]);
        ask(&mut instance, "import_end", vec![Number::Long(0)], &[]);
        if ask(&mut instance, "health", Vec::new(), &[]) >= 0 {
            assert_balanced(&mut instance)?;
        }
    });
}

#[test]
fn a_call_that_is_cut_off_closes_the_instance_and_its_records_can_be_saved() {
    let compiled = Compiled::shipped().expect("the module");
    let mut cut_off = 0;
    // The fuel runs out at ever later points of the same call.
    for fuel in (200..6_000).step_by(200) {
        let mut old = begun(&compiled, &small());
        let envelope = b"{}\n{\"type\":\"event\"}\n{}\n";
        let record = |instance: &mut Wasmtime| {
            let numbers = [0, 0, 0, envelope.len() as i32].map(Number::Short);
            let numbers = numbers.into_iter().chain([Number::Long(5)]).collect();
            instance.call(&Frame {
                function: "record_whole",
                numbers,
                input: envelope.to_vec(),
                output: Output::Bytes(0),
            })
        };
        for _ in 0..3 {
            assert_eq!(record(&mut old).expect("it has fuel").value, 0);
        }
        old.set_fuel(fuel).expect("fuel");
        let last = record(&mut old);
        old.set_fuel(u64::MAX).expect("fuel");
        if last.is_ok() {
            continue;
        }
        let refused = ask(&mut old, "poll", vec![Number::Long(9)], &[]);
        // Fuel may run out before the call begins, while its input is handed in.
        if refused >= 0 {
            continue;
        }
        cut_off += 1;
        assert_eq!(refused, -10);
        let (mut new, missing) = exchanged(&compiled, &mut old, 9);
        assert!(missing <= 1, "{missing} are missing");
        assert_balanced(&mut new).expect("the books balance");
        assert_eq!(
            ask(&mut new, "poll", vec![Number::Long(9)], &[]),
            1,
            "fuel {fuel}"
        );
        assert_eq!(ask(&mut old, "poll", vec![Number::Long(9)], &[]), -10);
    }
    assert!(cut_off >= 3, "only {cut_off} calls were cut off");
}
