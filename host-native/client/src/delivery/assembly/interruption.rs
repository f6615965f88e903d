//! Stops the delivery thread in the middle of a transaction, or makes it panic there.

use std::sync::{Mutex, PoisonError};

use surgetank_core::wire::otlp::encode::TraceId;

type Interruption = (TraceId, Box<dyn FnOnce() + Send>);

static PLANNED: Mutex<Vec<Interruption>> = Mutex::new(Vec::new());

/// Has `happens` called when the transaction of this trace is half made.
pub(crate) fn plan(trace_id: TraceId, happens: impl FnOnce() + Send + 'static) {
    let mut planned = PLANNED.lock().unwrap_or_else(PoisonError::into_inner);
    planned.push((trace_id, Box::new(happens)));
}

pub(super) fn half_way(trace_id: &TraceId) {
    let mut planned = PLANNED.lock().unwrap_or_else(PoisonError::into_inner);
    let Some(place) = planned.iter().position(|(known, _)| known == trace_id) else {
        return;
    };
    let (_, happens) = planned.swap_remove(place);
    drop(planned);
    happens();
}
