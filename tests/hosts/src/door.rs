//! Wasmtime, in this process.

use std::path::Path;

use wasmtime::{Config, Engine, Instance, Memory, Module, OptLevel, Store, Val};

use crate::frame::{Door, Frame, Number, Output, Returned};

/// Bytes of the module's stack (`host-wasm/module/build.rs`); it lies at the beginning of the memory and grows down.
pub const STACK_BYTES: usize = 48 * 1024;

/// Bytes of it that may be used (`host-wasm/module/ABI.md`, "Memory").
pub const STACK_MOST: usize = STACK_BYTES / 3;

/// What no stack has by chance, over its whole length.
const PAINT: u8 = 0xA5;

/// The module, compiled once.
#[derive(Clone)]
pub struct Compiled {
    engine: Engine,
    module: Module,
}

impl core::fmt::Debug for Compiled {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Compiled").finish_non_exhaustive()
    }
}

impl Compiled {
    /// Compiles the module that `cargo xtask wasm` made.
    ///
    /// # Errors
    /// There is none, or it is not one.
    pub fn shipped() -> Result<Self, String> {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../dist/surgetank.wasm");
        let bytes = std::fs::read(&path)
            .map_err(|error| format!("{}: {error}; `cargo xtask wasm` makes it", path.display()))?;
        let mut config = Config::new();
        config.consume_fuel(true).cranelift_opt_level(OptLevel::None);
        let engine = Engine::new(&config).map_err(|error| error.to_string())?;
        let module = Module::new(&engine, bytes).map_err(|error| error.to_string())?;
        Ok(Self { engine, module })
    }

    /// A fresh instance, whose stack is painted.
    ///
    /// # Errors
    /// It wants imports, or lacks its memory.
    pub fn instance(&self) -> Result<Wasmtime, String> {
        let mut store = Store::new(&self.engine, ());
        store.set_fuel(u64::MAX).map_err(|error| error.to_string())?;
        let instance = Instance::new(&mut store, &self.module, &[]).map_err(|error| error.to_string())?;
        let memory = instance
            .get_memory(&mut store, "memory")
            .ok_or("the module exports no memory")?;
        let stack = memory.data_mut(&mut store).get_mut(..STACK_BYTES);
        stack.ok_or("the memory is smaller than its stack")?.fill(PAINT);
        Ok(Wasmtime {
            store,
            instance,
            memory,
        })
    }
}

/// An instance in Wasmtime.
pub struct Wasmtime {
    store: Store<()>,
    instance: Instance,
    memory: Memory,
}

impl core::fmt::Debug for Wasmtime {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Wasmtime").finish_non_exhaustive()
    }
}

impl Wasmtime {
    /// Calls `surgetank_<function>`.
    ///
    /// # Errors
    /// It does not exist, or trapped.
    pub fn function(&mut self, function: &str, numbers: &[Number]) -> Result<i64, String> {
        let name = format!("surgetank_{function}");
        let callee = self
            .instance
            .get_func(&mut self.store, &name)
            .ok_or_else(|| format!("the module exports no {name}"))?;
        let numbers: Vec<Val> = numbers
            .iter()
            .map(|number| match number {
                Number::Short(value) => Val::I32(*value),
                Number::Long(value) => Val::I64(*value),
            })
            .collect();
        let mut results = [Val::I32(0)];
        callee
            .call(&mut self.store, &numbers, &mut results)
            .map_err(|error| format!("{name}: {error:#}"))?;
        match results[0] {
            Val::I32(value) => Ok(i64::from(value)),
            Val::I64(value) => Ok(value),
            ref other => Err(format!("{name} returned {other:?}")),
        }
    }

    /// Where a window is, and its bytes.
    ///
    /// # Errors
    /// The module does not say.
    pub fn window(&mut self, name: &str) -> Result<(usize, usize), String> {
        let start = self.function(name, &[])? as u32 as usize;
        let size = self.function(&format!("{name}_size"), &[])? as usize;
        Ok((start, size))
    }

    /// All memory of the instance.
    pub fn memory(&mut self) -> &mut [u8] {
        self.memory.data_mut(&mut self.store)
    }

    /// Bytes of stack that the calls so far used at most.
    pub fn stack_used(&mut self) -> usize {
        let stack = &self.memory()[..STACK_BYTES];
        STACK_BYTES - stack.iter().take_while(|byte| **byte == PAINT).count()
    }

    /// How much the next calls may do before they are cut off.
    ///
    /// # Errors
    /// Never: fuel is on.
    pub fn set_fuel(&mut self, fuel: u64) -> Result<(), String> {
        self.store.set_fuel(fuel).map_err(|error| error.to_string())
    }

    /// Fuel that is left.
    ///
    /// # Errors
    /// Never: fuel is on.
    pub fn fuel(&self) -> Result<u64, String> {
        self.store.get_fuel().map_err(|error| error.to_string())
    }
}

impl Door for Wasmtime {
    fn call(&mut self, frame: &Frame) -> Result<Returned, String> {
        let (start, size) = self.window("input")?;
        if frame.input.len() > size {
            return Err(format!("{} bytes do not fit the window", frame.input.len()));
        }
        self.memory()[start..start + frame.input.len()].copy_from_slice(&frame.input);
        let value = self.function(frame.function, &frame.numbers)?;
        let bytes = match frame.output {
            Output::Bytes(bytes) => bytes as usize,
            Output::Returned => usize::try_from(value).unwrap_or_default(),
        };
        let (start, _) = self.window("output")?;
        Ok(Returned {
            value,
            output: self.memory()[start..start + bytes].to_vec(),
        })
    }
}
