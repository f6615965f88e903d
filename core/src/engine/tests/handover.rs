//! An engine's state put into another engine.

use super::*;
use crate::engine::{Piece, TakeOverError, Walk};
use crate::item::CategorySet;
use crate::ledger::{CategoryTotals, ReasonTotal};
use crate::response::Failure;
use crate::wire::rate_limits::Scope;

/// A piece with its payload in one.
type Whole = (Piece<()>, Vec<u8>);

fn pieces(engine: &Engine<Small>) -> Vec<Whole> {
    let mut walk = Walk::default();
    core::iter::from_fn(|| engine.next_piece(&mut walk))
        .map(|piece| match piece {
            Piece::Record {
                header,
                recorded_at,
                removed,
                payload,
            } => {
                let piece = Piece::Record {
                    header,
                    recorded_at,
                    removed,
                    payload: (),
                };
                (piece, payload.flatten().copied().collect())
            }
            other => (emptied(other), Vec::new()),
        })
        .collect()
}

fn emptied<P, Q: Default>(piece: Piece<P>) -> Piece<Q> {
    match piece {
        Piece::Whole {
            counters,
            unlisted,
            unreported,
            request_generation,
        } => Piece::Whole {
            counters,
            unlisted,
            unreported,
            request_generation,
        },
        Piece::Sums { category, totals } => Piece::Sums { category, totals },
        Piece::Dropped(total) => Piece::Dropped(total),
        Piece::Destination {
            id,
            config,
            paused_until,
        } => Piece::Destination {
            id,
            config,
            paused_until,
        },
        Piece::Limit {
            destination,
            category,
            until,
            scope,
        } => Piece::Limit {
            destination,
            category,
            until,
            scope,
        },
        Piece::Loss {
            destination,
            category,
            reason,
            quantity,
        } => Piece::Loss {
            destination,
            category,
            reason,
            quantity,
        },
        Piece::Record {
            header,
            recorded_at,
            removed,
            ..
        } => Piece::Record {
            header,
            recorded_at,
            removed,
            payload: Q::default(),
        },
    }
}

/// The next request, if there is one.
fn send(rig: &mut Rig) -> Option<RequestId> {
    loop {
        match rig.engine.poll(rig.now) {
            Action::Send(request) => return Some(request.id()),
            Action::Notice(_) => {}
            Action::Idle(_) | Action::Closed => return None,
        }
    }
}

fn taken_over(now: Instant, pieces: &[Whole]) -> (Engine<Small>, Vec<TakeOverError>) {
    let mut engine = Engine::new(Config::DEFAULT, Small::new(), 8, now).unwrap();
    let mut errors = Vec::new();
    for (piece, payload) in pieces {
        let mut piece: Piece<&[u8]> = emptied(*piece);
        if let Piece::Record { payload: place, .. } = &mut piece {
            *place = payload;
        }
        errors.extend(engine.take_over(now, &piece).err());
    }
    (engine, errors)
}

fn assert_balanced(engine: &Engine<Small>) {
    for (category, held) in engine.held() {
        assert_eq!(engine.totals().of(category).queued(), held, "{category:?}");
    }
}

/// Errors in flight, parked and waiting, logs waiting, one loss to be told of, one live limit.
fn busy() -> (Rig, RequestId) {
    let mut rig = Rig::sentry();
    for _ in 0..3 {
        assert_eq!(rig.error(), Outcome::Queued);
    }
    let first = send(&mut rig).expect("an error is sent");
    let second = send(&mut rig).expect("another is sent");
    let _ = rig.engine.on_failure(rig.now, second, Failure::Connect);
    assert_eq!(rig.log(), Outcome::Queued);
    rig.engine
        .on_losses(rig.now, Some(rig.to), Category::Span, DropReason::BeforeSend, 7);
    let limited = Response {
        status: 200,
        rate_limits: &[b"60:replay:organization"],
        ..Response::default()
    };
    rig.pass(Duration::from_secs(1));
    assert_eq!(rig.error(), Outcome::Queued);
    let third = send(&mut rig);
    if let Some(third) = third {
        let _ = rig.engine.on_response(rig.now, third, &limited);
    }
    (rig, first)
}

#[test]
fn sums_records_limits_and_losses_go_over_and_ids_stay_valid() {
    let (rig, _) = busy();
    let all = pieces(&rig.engine);
    let (mut other, errors) = taken_over(rig.now, &all);
    assert_eq!(errors, []);
    assert_eq!(other.complete(rig.now), 0);
    for category in Category::ALL {
        assert_eq!(other.totals().of(category), rig.engine.totals().of(category));
    }
    assert_eq!(other.totals().reasons(), rig.engine.totals().reasons());
    assert!(other.held().eq(rig.engine.held()));
    assert_balanced(&other);
    let limits = |engine: &Engine<Small>| engine.limits(rig.to).unwrap().until(Category::Replay);
    assert_eq!(limits(&other), limits(&rig.engine));
    assert!(limits(&other).is_some());
    // The other engine says the same of itself, but for the requests, which are no longer in flight.
    let again = pieces(&other);
    assert_eq!(again.len(), all.len());
    assert_eq!(std::format!("{again:?}").len(), std::format!("{all:?}").len());
}

#[test]
fn a_request_in_flight_is_sent_again_and_its_old_id_is_stale() {
    let mut rig = Rig::sentry();
    assert_eq!(
        rig.record(
            Header::new(rig.to, Form::Envelope, Category::Error, 1),
            b"{}\nfirst"
        ),
        Outcome::Queued
    );
    assert_eq!(
        rig.record(
            Header::new(rig.to, Form::Envelope, Category::Error, 1),
            b"{}\nother"
        ),
        Outcome::Queued
    );
    let old = send(&mut rig).expect("it is sent");
    let (mut other, errors) = taken_over(rig.now, &pieces(&rig.engine));
    assert_eq!((errors, other.complete(rig.now)), (vec![], 0));
    assert_eq!(other.in_flight(), 0);
    let mut sent = Vec::new();
    while let Action::Send(request) = other.poll(rig.now) {
        let payloads: Vec<u8> = request.payloads().flatten().flatten().copied().collect();
        sent.push((request.id(), payloads));
    }
    let payloads: Vec<&[u8]> = sent.iter().map(|(_, payload)| payload.as_slice()).collect();
    assert_eq!(payloads, [&b"{}\nfirst"[..], b"{}\nother"]);
    assert!(sent.iter().all(|(id, _)| *id != old));
    let good = Response {
        status: 200,
        ..Response::default()
    };
    assert_eq!(other.on_response(rig.now, old, &good), Ack::Stale);
    assert_eq!(other.in_flight(), 2);
}

#[test]
fn a_record_keeps_its_age() {
    let mut rig = Rig::sentry();
    assert_eq!(rig.error(), Outcome::Queued);
    let recorded_at = rig.now;
    rig.pass(Duration::from_secs(300));
    let (other, _) = taken_over(rig.now, &pieces(&rig.engine));
    let kept = pieces(&other).into_iter().find_map(|(piece, _)| match piece {
        Piece::Record { recorded_at, .. } => Some(recorded_at),
        _ => None,
    });
    assert_eq!(kept, Some(recorded_at));
}

#[test]
fn what_does_not_arrive_is_counted_as_lost_and_what_is_too_much_as_recorded() {
    let (rig, _) = busy();
    let all = pieces(&rig.engine);
    let is_record = |piece: &&Whole| matches!(piece.0, Piece::Record { .. });
    let records = all.iter().filter(is_record).count();
    assert!(records >= 4);
    let cut: Vec<Whole> = all[..all.len() - 1].to_vec();
    let (mut other, _) = taken_over(rig.now, &cut);
    assert!(other.complete(rig.now) > 0);
    assert_balanced(&other);
    let mut twice = all.clone();
    twice.extend(all.iter().filter(is_record).cloned());
    let (mut other, _) = taken_over(rig.now, &twice);
    assert_eq!(other.complete(rig.now), 0);
    assert_balanced(&other);
}

#[test]
fn an_engine_with_less_memory_drops_and_counts_what_has_no_room() {
    let mut rig = Rig::sentry();
    for _ in 0..40 {
        let _ = rig.error();
    }
    let all = pieces(&rig.engine);
    let mut other = Engine::new(Config::DEFAULT, FixedStorage::<20, 1, 2, 4>::new(), 8, rig.now).unwrap();
    for (piece, payload) in &all {
        let mut piece: Piece<&[u8]> = emptied(*piece);
        if let Piece::Record { payload: place, .. } = &mut piece {
            *place = payload;
        }
        let _ = other.take_over(rig.now, &piece);
    }
    assert_eq!(other.complete(rig.now), 0);
    let sums = other.totals().of(Category::Error);
    assert_eq!((sums.recorded, sums.delivered), (40, 0));
    assert!(sums.dropped > 0 && sums.queued() > 0);
    assert!(other.held().any(|held| held == (Category::Error, sums.queued())));
}

#[test]
fn pieces_that_no_engine_gave_do_no_harm() {
    let now = Instant::from_micros(5);
    let mut engine = Engine::new(Config::DEFAULT, Small::new(), 8, now).unwrap();
    let most = u64::MAX;
    let category = Category::Error;
    let header = Header::new(DestinationId::new(1, 3), Form::Envelope, category, u32::MAX);
    let record = Piece::Record {
        header,
        recorded_at: Instant::from_micros(most),
        removed: CategorySet::ALL,
        payload: &b"{}\n"[..],
    };
    let unknown = Err(TakeOverError::Dropped(DropReason::InternalSdkError));
    assert_eq!(engine.take_over(now, &record), unknown);
    let totals = CategoryTotals {
        recorded: 3,
        delivered: most,
        dropped: most,
    };
    let limit = Piece::Limit {
        destination: header.destination,
        category: None,
        until: now,
        scope: Scope::Key,
    };
    assert_eq!(
        engine.take_over(now, &limit),
        Err(TakeOverError::UnknownDestination)
    );
    assert_eq!(engine.take_over(now, &Piece::Sums { category, totals }), Ok(()));
    let open = |id| Piece::Destination {
        id,
        config: DestinationConfig::SENTRY,
        paused_until: now,
    };
    assert_eq!(engine.take_over(now, &open(header.destination)), Ok(()));
    for id in [
        header.destination,
        DestinationId::new(3, 0),
        DestinationId::new(255, 0),
    ] {
        assert_eq!(engine.take_over(now, &open(id)), Err(TakeOverError::NoPlace));
    }
    for reason in DropReason::ALL {
        for category in Category::ALL {
            let quantity = most;
            let total = ReasonTotal {
                category,
                reason,
                quantity,
            };
            assert_eq!(engine.take_over(now, &Piece::Dropped(total)), Ok(()));
        }
    }
    assert_eq!(engine.take_over(now, &record), Ok(()));
    engine.complete(now);
    assert_balanced(&engine);
    assert!(matches!(engine.poll(now), Action::Send(_)));
}
