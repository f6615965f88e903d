//! What a call costs: WebAssembly instructions, counted by Wasmtime's fuel, for the table in `host-wasm/module/README.md`.
#![allow(clippy::print_stdout, reason = "that is all it does")]

use surgetank_hosts::Wasmtime;
use surgetank_hosts::door::Compiled;
use surgetank_hosts::frame::Number::{self, Long, Short};

/// Calls `function` with `input` in the window; returns the result and the instructions of the call alone.
fn measured(
    instance: &mut Wasmtime,
    function: &str,
    numbers: &[Number],
    input: &[u8],
) -> Result<(i64, u64), String> {
    let (start, _) = instance.window("input")?;
    instance.memory()[start..start + input.len()].copy_from_slice(input);
    instance.set_fuel(u64::MAX)?;
    let value = instance.function(function, numbers)?;
    Ok((value, u64::MAX - instance.fuel()?))
}

fn main() -> Result<(), String> {
    let mut instance = Compiled::shipped()?.instance()?;
    let it = &mut instance;
    let show = |what: &str, (value, cost): (i64, u64)| {
        println!("| {what} | {cost} |");
        value
    };
    show("`abi`", measured(it, "abi", &[], &[])?);
    show(
        "`init`, 256 KiB of queue",
        measured(it, "init", &[Short(0), Long(0), Long(1)], &[])?,
    );
    show("`open`", measured(it, "open", &[Short(0), Long(0)], &[])?);
    show("`gate`", measured(it, "gate", &[Short(0), Long(1)], &[])?);
    show("`poll`, nothing to do", measured(it, "poll", &[Long(1)], &[])?);
    let event = format!(
        "{{}}\n{{\"type\":\"event\"}}\n{{\"message\":\"{}\"}}\n",
        "x".repeat(970)
    );
    let numbers = [Short(0), Short(0), Short(0), Short(event.len() as i32), Long(2)];
    show(
        "`record_whole`, an envelope of 1 KB",
        measured(it, "record_whole", &numbers, event.as_bytes())?,
    );
    let mut record = vec![1, 255, 0, 0];
    record.extend([0; 4]);
    record.extend(1u32.to_le_bytes());
    record.extend([0; 12]);
    record.extend(2u64.to_le_bytes());
    record.extend(event.as_bytes());
    let numbers = [Short(record.len() as i32), Long(3)];
    show(
        "`record`, the same with its header",
        measured(it, "record", &numbers, &record)?,
    );
    show("`poll`, a request", measured(it, "poll", &[Long(4)], &[])?);
    let (start, _) = it.window("output")?;
    let request = i64::from_le_bytes(
        it.memory()[start..start + 8]
            .try_into()
            .map_err(|_| "too short")?,
    );
    let numbers = [Long(request), Long(0), Long(0), Short(0)];
    show("`body`, that envelope", measured(it, "body", &numbers, &[])?);
    let answer = [1u32.to_le_bytes(), 2u32.to_le_bytes(), [200, 0, 0, 0]].concat();
    let numbers = [Long(request), Short(10), Long(5)];
    let settlement = show("`response`, 200", measured(it, "response", &numbers, &answer)?);
    show("`status`", measured(it, "status", &[], &[])?);
    show("`export`, a piece", measured(it, "export", &[], &[])?);
    if settlement == 0 {
        Ok(())
    } else {
        Err(format!("the request became {settlement}"))
    }
}
