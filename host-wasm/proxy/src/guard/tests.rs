use super::*;
use crate::route::Language;
use std::boxed::Box;
use surgetank_core::item::Category;
use surgetank_core::time::UnixTime;

const OVERLOAD: u64 = 1;

struct Rig {
    guard: Box<Guard>,
    random: Rng,
    context: u32,
}

fn at(millis: u64) -> Instant {
    Instant::from_micros(millis * 1000)
}

fn arrival(subject: u64, categories: CategorySet) -> Arrival {
    Arrival {
        subject,
        categories,
        language: Language::Sentry,
    }
}

impl Rig {
    fn new() -> Self {
        Self {
            guard: Box::new(Guard::new()),
            random: Rng::new(7),
            context: 0,
        }
    }

    /// A request with anything in it, and the answer to it if it passes.
    fn ask(&mut self, now: Instant, subject: u64, status: u16, headers: (&str, &str)) -> Verdict {
        self.context += 1;
        let verdict = self
            .guard
            .judge(now, self.context, &arrival(subject, CategorySet::ALL));
        if verdict == Verdict::Pass {
            self.answer(now, subject, status, headers);
        }
        verdict
    }

    fn answer(
        &mut self,
        now: Instant,
        subject: u64,
        status: u16,
        (name, value): (&str, &str),
    ) -> Vec<Line, MOST_LESSONS> {
        let is = |wanted: &str| (name == wanted).then_some(value.as_bytes());
        let limits = is("x-sentry-rate-limits");
        let response = Response {
            status,
            retry_after: is("retry-after"),
            rate_limits: limits.as_slice(),
            wall: UnixTime::from_secs(1_700_000_000),
            ..Response::default()
        };
        self.guard
            .answered(now, self.context, subject, OVERLOAD, &response, &mut self.random)
    }
}

const NONE: (&str, &str) = ("", "");

#[test]
fn a_limit_for_everything_is_obeyed_by_the_one_it_is_for() {
    let mut rig = Rig::new();
    assert_eq!(rig.ask(at(0), 7, 429, ("retry-after", "5")), Verdict::Pass);
    assert_eq!(
        rig.ask(at(1000), 7, 200, NONE),
        Verdict::Limited(Duration::from_secs(4))
    );
    assert_eq!(rig.ask(at(1000), 8, 200, NONE), Verdict::Pass);
    assert_eq!(rig.ask(at(5000), 7, 200, NONE), Verdict::Pass);
}

#[test]
fn a_request_is_refused_only_when_all_that_it_may_hold_is_limited() {
    let mut rig = Rig::new();
    rig.ask(
        at(0),
        7,
        200,
        ("x-sentry-rate-limits", "60:error:key, 30:span:organization"),
    );
    let errors = CategorySet::of(Category::Error);
    for (categories, left) in [
        (errors, Some(60)),
        (CategorySet::of(Category::Span), Some(30)),
        (errors.with(Category::Span), Some(60)),
        (errors.with(Category::Transaction), None),
        (CategorySet::ALL, None),
    ] {
        let expected = left.map_or(Verdict::Pass, |left| Verdict::Limited(Duration::from_secs(left)));
        assert_eq!(rig.guard.judge(at(0), 99, &arrival(7, categories)), expected);
    }
}

#[test]
fn overload_with_a_word_for_how_long_pauses_everybody() {
    let mut rig = Rig::new();
    assert_eq!(rig.ask(at(0), 7, 503, ("retry-after", "5")), Verdict::Pass);
    assert_eq!(
        rig.ask(at(0), 8, 200, NONE),
        Verdict::Overloaded(Duration::from_secs(5))
    );
    assert_eq!(rig.ask(at(5000), 8, 200, NONE), Verdict::Pass);
}

#[test]
fn a_service_that_fails_again_and_again_is_left_alone_and_probed_by_one_request() {
    let mut rig = Rig::new();
    let mut failures = 0;
    while rig.ask(at(0), 7, 503, NONE) == Verdict::Pass {
        failures += 1;
        assert!(failures < 100, "the breaker never opens");
    }
    assert!(failures > 1, "one failure is no overload");
    let Verdict::Overloaded(left) = rig.guard.judge(at(0), 1000, &arrival(8, CategorySet::ALL)) else {
        panic!("it is open");
    };
    let later = at(0).saturating_add(left);
    assert_eq!(
        rig.guard.judge(later, 1001, &arrival(8, CategorySet::ALL)),
        Verdict::Pass
    );
    let second = rig.guard.judge(later, 1002, &arrival(8, CategorySet::ALL));
    assert!(matches!(second, Verdict::Overloaded(_)), "one probe at a time");
    // Its sender went away: another may.
    rig.guard.unanswered(1001);
    assert_eq!(rig.ask(later, 8, 200, NONE), Verdict::Pass);
    assert_eq!(rig.ask(later, 7, 200, NONE), Verdict::Pass);
}

#[test]
fn another_worker_obeys_what_was_learned() {
    let (mut first, mut second) = (Rig::new(), Rig::new());
    first.context = 1;
    for (status, header) in [
        (429, ("x-sentry-rate-limits", "60:error:key, 30::organization")),
        (503, ("retry-after", "10")),
    ] {
        for line in &first.answer(at(0), 7, status, header) {
            second.guard.learn(at(0), OVERLOAD, line);
        }
    }
    assert_eq!(
        second.ask(at(0), 7, 200, NONE),
        Verdict::Limited(Duration::from_secs(60))
    );
    assert_eq!(
        second.ask(at(0), 8, 200, NONE),
        Verdict::Overloaded(Duration::from_secs(10))
    );
    assert_eq!(second.ask(at(30_000), 8, 200, NONE), Verdict::Pass);
}

#[test]
fn many_subjects_take_no_more_memory_and_the_newest_are_known() {
    let mut rig = Rig::new();
    let last = SUBJECTS as u64 * 3;
    for subject in 2..=last {
        rig.ask(at(subject), subject, 429, ("retry-after", "60"));
    }
    let known = |rig: &Rig, subject| rig.guard.limits(subject).is_some();
    assert!(known(&rig, last) && known(&rig, last - SUBJECTS as u64 + 1));
    assert!(!known(&rig, 2));
}
