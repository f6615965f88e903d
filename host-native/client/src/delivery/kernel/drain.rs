//! Out of the intake and into the engine. What producers recorded as it was, to do less, takes its form on the way.

use surgetank_core::intake::{Budget, Consumer, Drained};
#[cfg(feature = "opentelemetry")]
use surgetank_core::item::Category;
use surgetank_core::item::{DestinationId, DropReason, Item};
use surgetank_core::limits::INTAKE_GATES;
use surgetank_core::time::Instant;

use super::Kernel;
use crate::delivery::Exporter;
#[cfg(feature = "opentelemetry")]
use crate::delivery::assembly::{Assembled, Assembly, PART};
use crate::delivery::door::in_queue;
use crate::sentry::NOTED_LOG;

impl<E: Exporter> Kernel<E> {
    /// Takes records out of the intake, and what producers counted as lost.
    pub(in crate::delivery) fn drain(
        &mut self,
        now: Instant,
        consumer: &mut Consumer<'_>,
        budget: Budget,
    ) -> Drained {
        #[cfg(feature = "opentelemetry")]
        self.assemble(now, |assembly, each| assembly.age(now, each));
        let drained = consumer.drain(budget, |item| {
            self.taken = self.taken.saturating_add(in_queue(item.payload.len()));
            if item.header.origin == NOTED_LOG {
                self.record_log(now, &item);
                return;
            }
            #[cfg(feature = "opentelemetry")]
            if item.header.origin == PART {
                self.assemble(now, |assembly, each| assembly.take(now, &item, each));
                return;
            }
            // What becomes of it is counted by the engine.
            let _ = self.engine(|engine| engine.record(now, &item));
        });
        self.take_losses(now, consumer);
        drained
    }

    /// Makes JSON of a log that was noted, and hands it to the engine.
    fn record_log(&mut self, now: Instant, item: &Item<'_>) {
        let header = item.header.from_origin(0);
        let opened = self.open.get(header.destination.index());
        let common = opened.and_then(Option::as_ref);
        let common = common.map_or(&[][..], |opened| &opened.spec.log_attributes);
        let Some(payload) = self.logs.write(item.payload, common) else {
            for count in [Some(header.count), header.also].into_iter().flatten() {
                let (destination, quantity) = (Some(header.destination), u64::from(count.quantity));
                self.engine(|engine| {
                    let reason = DropReason::InternalSdkError;
                    engine.on_losses(now, destination, count.category, reason, quantity);
                });
            }
            return;
        };
        self.in_engine = true;
        // What becomes of it is counted by the engine.
        let _ = self.engine.record(now, &Item { header, payload });
        self.in_engine = false;
    }

    /// Calls the assembly and hands what comes out to the engine.
    #[cfg(feature = "opentelemetry")]
    pub(super) fn assemble(
        &mut self,
        now: Instant,
        call: impl FnOnce(&mut Assembly, &mut dyn FnMut(Assembled<'_>)),
    ) {
        let Self {
            assembly,
            engine,
            in_engine,
            in_assembly,
            ..
        } = self;
        *in_assembly = true;
        call(assembly, &mut |assembled| {
            *in_engine = true;
            match assembled {
                // What becomes of it is counted.
                Assembled::Record(item) => drop(engine.record(now, &item)),
                Assembled::Lost {
                    destination,
                    reason,
                    spans,
                } => engine.on_losses(now, Some(destination), Category::Span, reason, spans),
            }
            *in_engine = false;
        });
        *in_assembly = false;
    }

    pub(in crate::delivery) fn take_losses(&mut self, now: Instant, consumer: &mut Consumer<'_>) {
        consumer.take_losses(|gate, category, reason, quantity| {
            let destination = self.behind_gate(gate);
            self.engine(|engine| engine.on_losses(now, destination, category, reason, quantity));
        });
    }

    /// The one destination that the gate stands for.
    fn behind_gate(&self, gate: usize) -> Option<DestinationId> {
        let shared = gate + 1 >= INTAKE_GATES && self.open.len() > INTAKE_GATES;
        let opened = self.open.get(gate).and_then(Option::as_ref)?;
        (!shared).then_some(opened.id)
    }
}
