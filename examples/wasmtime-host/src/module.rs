//! The module as a Rust value: what `ABI.md` says, in a hundred lines. Take this file as it is.

use wasmtime::{Engine, Error, Instance, Memory, Module, Result, Store, TypedFunc};

/// What one call may do at most, in fuel (about one unit an instruction): far more than any call needs, so that only an
/// engine that hangs is cut off.
const FUEL_PER_CALL: u64 = 50_000_000;

/// What `poll` says.
#[derive(Debug)]
pub(crate) enum Action {
    /// Nothing to do before this time in microseconds, if there is one.
    Idle(Option<u64>),
    /// Send the body of this request.
    Send(u64),
    /// Something worth a line in a log.
    Notice,
    /// Closed, and nothing is left.
    Closed,
}

/// One instance: one engine.
#[allow(missing_debug_implementations)]
pub(crate) struct Surgetank {
    store: Store<()>,
    memory: Memory,
    input: (usize, usize),
    output: usize,
    record_whole: TypedFunc<(i32, i32, i32, i32, i64), i32>,
    poll: TypedFunc<i64, i32>,
    body: TypedFunc<(i64, i64, i64, i32), i32>,
    response: TypedFunc<(i64, i32, i64), i32>,
    failure: TypedFunc<(i64, i32, i64), i32>,
    open: TypedFunc<(i32, i64), i64>,
    status: TypedFunc<(), i32>,
    export: TypedFunc<(), i32>,
    import: TypedFunc<(i32, i64), i32>,
    import_end: TypedFunc<i64, i64>,
}

impl Surgetank {
    /// An instance of `module` with its settings (`ABI.md`, "Settings").
    pub(crate) fn new(
        engine: &Engine,
        module: &Module,
        settings: &[u8],
        now: i64,
        seed: i64,
    ) -> Result<Self> {
        let mut store = Store::new(engine, ());
        store.set_fuel(FUEL_PER_CALL)?;
        let instance = Instance::new(&mut store, module, &[])?;
        let memory = instance
            .get_memory(&mut store, "memory")
            .ok_or_else(|| Error::msg("the module exports no memory"))?;
        let number = |store: &mut Store<()>, name: &str| -> Result<usize> {
            let function = instance.get_typed_func::<(), i32>(&mut *store, name)?;
            Ok(function.call(store, ())? as u32 as usize)
        };
        let at = number(&mut store, "surgetank_input")?;
        memory.data_mut(&mut store)[at..at + settings.len()].copy_from_slice(settings);
        let init = instance.get_typed_func::<(i32, i64, i64), i32>(&mut store, "surgetank_init")?;
        checked(init.call(&mut store, (settings.len() as i32, now, seed))?.into())?;
        // Both windows have moved.
        let input = (
            number(&mut store, "surgetank_input")?,
            number(&mut store, "surgetank_input_size")?,
        );
        let output = number(&mut store, "surgetank_output")?;
        Ok(Self {
            record_whole: instance.get_typed_func(&mut store, "surgetank_record_whole")?,
            poll: instance.get_typed_func(&mut store, "surgetank_poll")?,
            body: instance.get_typed_func(&mut store, "surgetank_body")?,
            response: instance.get_typed_func(&mut store, "surgetank_response")?,
            failure: instance.get_typed_func(&mut store, "surgetank_failure")?,
            open: instance.get_typed_func(&mut store, "surgetank_open")?,
            status: instance.get_typed_func(&mut store, "surgetank_status")?,
            export: instance.get_typed_func(&mut store, "surgetank_export")?,
            import: instance.get_typed_func(&mut store, "surgetank_import")?,
            import_end: instance.get_typed_func(&mut store, "surgetank_import_end")?,
            store,
            memory,
            input,
            output,
        })
    }

    /// Opens a destination.
    pub(crate) fn open(&mut self, settings: &[u8], now: i64) -> Result<i32> {
        let length = self.give(settings)?;
        let id = checked(self.open.call(&mut self.store, (length, now))?)?;
        Ok(id as i32)
    }

    /// Offers a Sentry envelope; false when it was dropped (and counted).
    pub(crate) fn envelope(&mut self, destination: i32, envelope: &[u8], now: i64) -> Result<bool> {
        let length = self.give(envelope)?;
        let numbers = (destination, 0, 0, length, now);
        Ok(checked(self.record_whole.call(&mut self.store, numbers)?.into())? == 0)
    }

    /// The next thing to do.
    pub(crate) fn poll(&mut self, now: i64) -> Result<Action> {
        self.give(&[])?;
        let what = checked(self.poll.call(&mut self.store, now)?.into())?;
        let long =
            |at: usize, bytes: &[u8]| u64::from_le_bytes(bytes[at..at + 8].try_into().unwrap_or([0; 8]));
        let output = self.taken(16);
        Ok(match what {
            0 => Action::Idle((output[0] == 1).then(|| long(8, output))),
            1 => Action::Send(long(0, output)),
            2 => Action::Notice,
            _ => Action::Closed,
        })
    }

    /// The whole body of a request.
    pub(crate) fn body(&mut self, request: u64, wall: i64) -> Result<Vec<u8>> {
        let mut body = Vec::new();
        loop {
            self.give(&[])?;
            let numbers = (request as i64, wall, body.len() as i64, 0);
            let piece = checked(self.body.call(&mut self.store, numbers)?.into())?;
            if piece == 0 {
                return Ok(body);
            }
            body.extend_from_slice(self.taken(piece as usize));
        }
    }

    /// Hands in an answer, its fields as `ABI.md` lists them. Returns what became of the request.
    pub(crate) fn response(&mut self, request: u64, fields: &[u8], now: i64) -> Result<i64> {
        let length = self.give(fields)?;
        checked(
            self.response
                .call(&mut self.store, (request as i64, length, now))?
                .into(),
        )
    }

    /// Hands in that no answer came. Returns what became of the request.
    pub(crate) fn failure(&mut self, request: u64, kind: i32, now: i64) -> Result<i64> {
        self.give(&[])?;
        checked(
            self.failure
                .call(&mut self.store, (request as i64, kind, now))?
                .into(),
        )
    }

    /// The status as JSON.
    pub(crate) fn status(&mut self) -> Result<String> {
        self.give(&[])?;
        let length = checked(self.status.call(&mut self.store, ())?.into())?;
        Ok(String::from_utf8_lossy(self.taken(length as usize)).into_owned())
    }

    /// Takes over everything that `old` holds; returns what of it did not arrive.
    pub(crate) fn take_over(&mut self, old: &mut Self, now: i64) -> Result<i64> {
        loop {
            old.give(&[])?;
            let length = checked(old.export.call(&mut old.store, ())?.into())?;
            if length == 0 {
                break;
            }
            let length = self.give(old.taken(length as usize))?;
            checked(self.import.call(&mut self.store, (length, now))?.into())?;
        }
        checked(self.import_end.call(&mut self.store, now)?)
    }

    /// Fuel for one call, and its input.
    fn give(&mut self, bytes: &[u8]) -> Result<i32> {
        self.store.set_fuel(FUEL_PER_CALL)?;
        let (at, size) = self.input;
        if bytes.len() > size {
            return Err(Error::msg("larger than the input window"));
        }
        self.memory.data_mut(&mut self.store)[at..at + bytes.len()].copy_from_slice(bytes);
        Ok(bytes.len() as i32)
    }

    fn taken(&self, length: usize) -> &[u8] {
        &self.memory.data(&self.store)[self.output..self.output + length]
    }
}

/// A row of fields: tag and bytes.
#[must_use]
pub(crate) fn fields(row: &[(u32, &[u8])]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for (tag, value) in row {
        bytes.extend_from_slice(&tag.to_le_bytes());
        bytes.extend_from_slice(&(value.len() as u32).to_le_bytes());
        bytes.extend_from_slice(value);
    }
    bytes
}

fn checked(value: i64) -> Result<i64> {
    if value < 0 {
        return Err(Error::msg(format!("the module returned error {value}")));
    }
    Ok(value)
}
