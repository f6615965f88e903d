//! Who goes first.

use super::*;

#[test]
fn what_failed_goes_again_in_the_order_it_was_recorded() {
    let mut rig = Rig::sentry();
    let mut first = Vec::new();
    for _ in 0..40 {
        assert_eq!(rig.error(), Outcome::Queued);
        first.extend(rig.sends().iter().map(|(id, ..)| *id));
    }
    let order = |rig: &Rig, id: RequestId| {
        let view = rig.engine.storage.view();
        let head = view.requests[id.index()].records.head().unwrap();
        queue::sequence(view.blocks, head)
    };
    let before: Vec<u64> = first.iter().map(|id| order(&rig, *id)).collect();
    assert!(before.len() > 2 && before.is_sorted(), "{before:?}");
    // The slower pace after failures sends some of them back to their lane.
    for id in first {
        assert!(matches!(
            rig.answer(id, 503),
            Ack::Settled(Settlement::Retry { .. })
        ));
    }
    let mut again = Vec::new();
    while again.len() < before.len() {
        let sent = rig.sends();
        for (id, ..) in &sent {
            again.push(order(&rig, *id));
            rig.answer(*id, 200);
        }
        if sent.is_empty() {
            rig.now = rig.deadline().unwrap().at;
        }
    }
    again.truncate(before.len());
    assert_eq!(again, before);
    rig.conserve();
}
