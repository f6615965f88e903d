//! A fork in the middle of a record, which the public interface cannot hold still.

#[path = "../../tests/support/mod.rs"]
mod support;

use std::sync::Barrier;

use surgetank_core::wire::otlp::protobuf::Out;

use super::*;
use support::{Reply, Server};

const PATIENT: Duration = Duration::from_secs(60);

/// A record of which one half is written when the test goes on, and the other when it says so.
struct Slow<'a> {
    half_way: &'a Barrier,
    go_on: &'a Barrier,
}

impl Encode for Slow<'_> {
    fn encode<O: Out>(&self, out: &mut O) {
        // More than is collected before it goes into the slot.
        out.raw(&[b' '; 2000]);
        self.half_way.wait();
        self.go_on.wait();
        out.raw(&[b' '; 2000]);
    }

    fn encoded_len(&self) -> usize {
        4000
    }
}

#[test]
fn a_fork_in_the_middle_of_a_record_hurts_neither_side() {
    let server = Server::start(|_, _| Reply::ok());
    let client = Client::builder()
        .otlp_endpoint(&server.url(""))
        .environment_proxies(false)
        .build()
        .unwrap();
    let header = Header::new(DestinationId::new(0, 0), Form::OtlpRecord, Category::LogItem, 1);
    assert!(client.start());
    let (half_way, go_on) = (Barrier::new(2), Barrier::new(2));
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let slow = Slow {
                half_way: &half_way,
                go_on: &go_on,
            };
            let process = client.inner.process().unwrap();
            assert_eq!(process.delivery.record_long(&header, &slow), Outcome::Queued);
        });
        half_way.wait();
        // SAFETY: the child runs this thread alone and takes no lock that another thread of the parent could hold, apart
        // from the C library's own, which it keeps usable across `fork`. It ends without running destructors.
        let child = unsafe {
            match libc::fork() {
                0 => {
                    libc::alarm(90);
                    let queued = client.record_bytes(&header, b"") == Outcome::Queued;
                    let closed = client.close(PATIENT);
                    let sums = closed.sums.of(Category::LogItem);
                    let clean = (sums.recorded, sums.delivered) == (1, 1) && closed.intake_bytes == 0;
                    libc::_exit(i32::from(!(queued && closed.complete && clean)));
                }
                child => child,
            }
        };
        let mut status = 0;
        // SAFETY: `status` is valid to write to.
        assert_eq!(unsafe { libc::waitpid(child, &raw mut status, 0) }, child);
        assert_eq!(status, 0, "the child's own record and nothing else");
        go_on.wait();
    });
    let closed = client.close(PATIENT);
    assert!(closed.complete);
    let sums = closed.sums.of(Category::LogItem);
    assert_eq!((sums.recorded, sums.delivered), (1, 1));
    assert_eq!(server.requests().len(), 2);
}
