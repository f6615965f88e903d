//! Sessions for release health ("Sessions").

use core::net::IpAddr;
use core::time::Duration;

use surgetank_core::time::UnixTime;

use surgetank_core::wire::otlp::protobuf::Out;

use super::{Item, SentryContext, text};
use crate::ids::EventId;
use crate::json::{Encode, Json, name};

/// An update of a session: its start, an error in it, or its end.
#[derive(Clone, Copy, Debug)]
pub struct Session<'a> {
    /// Id of the session, the same in all its updates.
    pub id: EventId,
    /// Identifies the user without naming them.
    pub distinct_id: &'a str,
    /// True for the first update alone.
    pub init: bool,
    /// When the session began.
    pub started: UnixTime,
    /// State after this update.
    pub status: SessionStatus,
    /// Errors so far.
    pub errors: u32,
    /// How long it took, for the last update.
    pub duration: Option<Duration>,
    /// What the user runs.
    pub user_agent: &'a str,
    /// The user's network address.
    pub ip_address: Option<IpAddr>,
}

/// State of a session. Exhaustive.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default, Debug)]
pub enum SessionStatus {
    /// Goes on.
    #[default]
    Ok,
    /// Ended as it should.
    Exited,
    /// The program crashed.
    Crashed,
    /// Ended in an unexpected way that was no crash.
    Abnormal,
}

impl SessionStatus {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Exited => "exited",
            Self::Crashed => "crashed",
            Self::Abnormal => "abnormal",
        }
    }
}

pub(crate) struct Payload<'a> {
    session: &'a Session<'a>,
    now: UnixTime,
    context: &'a SentryContext,
}

/// A session with what its client adds, as one envelope item.
pub(crate) fn encoded_session<'a>(
    session: &'a Session<'a>,
    now: UnixTime,
    context: &'a SentryContext,
) -> Item<Payload<'a>> {
    Item::new(
        "session",
        Payload {
            session,
            now,
            context,
        },
    )
}

impl Encode for Payload<'_> {
    #[inline]
    fn encode<O: Out>(&self, out: &mut O) {
        let Self {
            session,
            now,
            context,
        } = *self;
        let mut json = Json::new(out);
        json.begin_object();
        json.name(name!("sid"));
        json.hex_16(session.id.as_bytes());
        text(&mut json, name!("did"), session.distinct_id);
        json.name(name!("init"));
        json.bool(session.init);
        json.name(name!("started"));
        json.rfc3339(session.started);
        json.name(name!("timestamp"));
        json.rfc3339(now);
        text(&mut json, name!("status"), session.status.as_str());
        json.name(name!("errors"));
        json.u64(u64::from(session.errors));
        if let Some(duration) = session.duration {
            json.name(name!("duration"));
            json.seconds(u64::try_from(duration.as_micros()).unwrap_or(u64::MAX));
        }
        json.name(name!("attrs"));
        json.begin_object();
        json.members(&context.release);
        text(&mut json, name!("user_agent"), session.user_agent);
        if let Some(address) = session.ip_address {
            json.name(name!("ip_address"));
            json.quoted(format_args!("{address}"));
        }
        json.end_object();
        json.end_object();
    }
}
