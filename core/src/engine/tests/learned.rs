//! What another engine learned of the same server.

use super::*;

#[test]
fn a_limit_that_another_engine_learned_is_obeyed_until_it_ends() {
    let mut rig = Rig::sentry();
    let until = rig.now.saturating_add(Duration::from_secs(60));
    let error = Some(CategorySet::of(Category::Error));
    rig.engine.on_limit(rig.now, rig.to, error, until, Scope::Project);
    // A shorter one changes nothing, and an id that is not valid neither.
    rig.engine.on_limit(rig.now, rig.to, error, rig.now, Scope::Key);
    rig.engine
        .on_limit(rig.now, DestinationId::new(9, 9), None, until, Scope::Key);
    assert_eq!(rig.error(), Outcome::Dropped(DropReason::RatelimitBackoff));
    assert_eq!(rig.log(), Outcome::Queued);
    rig.now = until;
    assert_eq!(rig.error(), Outcome::Queued);
    rig.conserve();
}

#[test]
fn a_pause_that_another_engine_was_asked_for_holds_everything_back_and_drops_nothing() {
    let mut rig = Rig::sentry();
    let until = rig.now.saturating_add(Duration::from_secs(60));
    rig.engine.on_pause(rig.now, rig.to, until);
    rig.engine.on_pause(rig.now, rig.to, rig.now);
    assert_eq!(rig.error(), Outcome::Queued);
    assert_eq!(rig.sends(), []);
    rig.now = until;
    assert_eq!(rig.sends().len(), 1);
    rig.conserve();
}
