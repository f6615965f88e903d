//! `surgetank serial` from outside: a pseudo-terminal or a TCP port whose other end plays the device, byte by byte.

use crate::sidecar::{Running, program, run};
use crate::upstream::{Reply, Upstream};
use crate::{KEY, SOON, eventually};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use std::fs::File;
use std::io::{Read, Write};
use std::net::TcpListener;
use std::process::Stdio;
use std::sync::mpsc::Receiver;
use surgetank_serial::frame::{self, FrameReader};
use surgetank_serial::message::{BodyKind, Down, Refusal, UP_LINE_BYTES, Up, VERSION};

/// A running gateway.
struct Gateway {
    child: Running,
    lines: Receiver<String>,
}

impl Gateway {
    fn start(port: &str, upstream: &Upstream, more: &[&str]) -> Self {
        let dsn = upstream.url().replace("http://", &format!("http://{KEY}@")) + "/42";
        let mut command = program(&["serial", port, "--dsn", &dsn]);
        let (child, lines) = run(command.args(more).stderr(Stdio::piped()));
        let ready: Value = serde_json::from_str(&lines.recv_timeout(SOON).expect("a ready line")).unwrap();
        assert_eq!((&ready["event"], &ready["port"]), (&"ready".into(), &port.into()));
        Self { child, lines }
    }

    /// Ends it with SIGTERM: exit code, last line, standard error.
    fn stop(mut self) -> (Option<i32>, Value, String) {
        kill_process(Pid::from_child(&self.child.0), Signal::TERM).unwrap();
        let status = eventually("the end of the process", || self.child.0.try_wait().unwrap());
        let mut errors = String::new();
        let mut stderr = self.child.0.stderr.take().unwrap();
        stderr.read_to_string(&mut errors).unwrap();
        let last = self.lines.iter().last().expect("a last line");
        (status.code(), serde_json::from_str(&last).unwrap(), errors)
    }
}

/// The device's end of a line.
struct Device<L> {
    line: L,
    frames: FrameReader<1024>,
    /// Read and not looked at yet.
    rest: Vec<u8>,
}

impl<L: Read + Write> Device<L> {
    fn new(line: L) -> Self {
        Self {
            line,
            frames: FrameReader::new(),
            rest: Vec::new(),
        }
    }

    fn say(&mut self, message: &Up<'_>) {
        let mut buffer = [0; UP_LINE_BYTES];
        self.line.write_all(message.write(&mut buffer).unwrap()).unwrap();
    }

    /// Hands the next message to `look`.
    fn hear<T>(&mut self, look: impl FnOnce(Down<'_>) -> T) -> T {
        loop {
            for at in 0..self.rest.len() {
                if let Some(content) = self.frames.feed(self.rest[at]) {
                    let heard = look(Down::read(content).expect("a message"));
                    self.rest.drain(..=at);
                    return heard;
                }
            }
            let mut buffer = [0; 256];
            let read = self.line.read(&mut buffer).unwrap();
            assert!(read > 0, "the line was closed");
            self.rest = buffer[..read].to_vec();
        }
    }

    /// Greets once the gateway is there, and gives the session. Not before: until then a terminal echoes.
    fn greet(&mut self) -> u64 {
        self.hear(|message| assert_eq!(message, Down::Who { version: VERSION }));
        self.say(&Up::Hello {
            version: VERSION,
            session: 0,
            room: 512,
        });
        self.hear(|message| {
            let Down::Welcome { session, time, .. } = message else {
                panic!("{message:?}");
            };
            // This test was written in 2026.
            assert!(time.as_secs() > 1_767_225_600);
            session
        })
    }

    /// Sends a body in one piece; the confirmation is heard.
    fn send(&mut self, transfer: u32, bytes: &[u8]) {
        self.say(&Up::Data {
            transfer,
            offset: 0,
            kind: BodyKind::Envelope,
            last: true,
            bytes,
        });
        let received = bytes.len() as u32;
        self.hear(|message| {
            assert_eq!(
                message,
                Down::Got {
                    transfer,
                    received,
                    resume: false
                }
            );
        });
    }
}

/// A pseudo-terminal: the end that plays the device, and the path of the other.
fn terminal() -> (File, String) {
    use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
    let device = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC).unwrap();
    grantpt(&device).unwrap();
    unlockpt(&device).unwrap();
    let path = ptsname(&device, Vec::new()).unwrap();
    (File::from(device), path.into_string().unwrap())
}

#[test]
fn a_terminal_carries_every_byte_both_ways() {
    let upstream = Upstream::start();
    let limits =
        "x-sentry-rate-limits: 60:error:key\r\nx-sentry-rate-limits: 7:log_item:key\r\nretry-after: 60\r\n";
    upstream.always(Reply::Answer(429, limits.to_owned()));
    let (line, path) = terminal();
    let gateway = Gateway::start(&path, &upstream, &["--baud", "9600"]);
    let mut device = Device::new(line);
    assert_ne!(device.greet(), 0);

    // Line feeds, returns, and all that a terminal would take for itself. A frame holds 239 of them.
    for (transfer, bytes) in (1_u32..).zip([0..128, 128..256_u32]) {
        let body: Vec<u8> = bytes.map(|byte| byte as u8).collect();
        device.send(transfer, &body);
        device.hear(|message| {
            let Down::Answer {
                transfer: answered,
                answer,
            } = message
            else {
                panic!("{message:?}");
            };
            assert_eq!((answered, answer.status), (transfer, 429));
            assert_eq!(answer.retry_after, Some(&b"60"[..]));
            assert_eq!(answer.rate_limits, Some(&b"60:error:key, 7:log_item:key"[..]));
        });
        device.say(&Up::Done { transfer });
        let requests = upstream.wait_for(transfer as usize);
        let last = requests.last().unwrap();
        assert_eq!((last.path.as_str(), &last.body), ("/api/42/envelope/", &body));
        assert!(last.headers["x-sentry-auth"].contains(&format!("sentry_key={KEY}")));
        assert_eq!(last.headers["content-type"], "application/x-sentry-envelope");
    }

    let (code, farewell, errors) = gateway.stop();
    assert_eq!(
        (code, &farewell["complete"], &farewell["answered"]),
        (Some(0), &true.into(), &2.into())
    );
    assert!(!errors.contains(KEY), "{errors}");
}

#[test]
fn noise_is_passed_over_and_nonsense_refused() {
    let upstream = Upstream::start();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = format!("tcp:{}", listener.local_addr().unwrap());
    let gateway = Gateway::start(&port, &upstream, &[]);
    let (line, _) = listener.accept().unwrap();
    line.set_read_timeout(Some(SOON)).unwrap();
    let mut device = Device::new(line);
    device.line.write_all(&[0xFF; 5000]).unwrap();
    device.line.write_all(&[0, 1, 2, 3, 0]).unwrap();
    device.greet();
    let mut buffer = [0; 64];
    let nonsense = frame::encode(&[b"\x7Fno message"], &mut buffer).unwrap();
    device.line.write_all(nonsense).unwrap();
    let refusal = Refusal::Malformed;
    device.hear(|message| assert_eq!(message, Down::Refused { refusal }));
    device.send(1, b"{}\n");
    device.hear(|message| assert!(matches!(message, Down::Answer { transfer: 1, .. })));
    device.say(&Up::Done { transfer: 1 });
    let (code, farewell, _) = gateway.stop();
    assert_eq!((code, &farewell["rejected_frames"]), (Some(0), &2.into()));
    assert_eq!(upstream.requests().len(), 1);
}

#[test]
fn a_port_that_appears_later_is_opened_and_one_that_goes_is_opened_again() {
    let upstream = Upstream::start();
    let address = {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        listener.local_addr().unwrap()
    };
    let gateway = Gateway::start(&format!("tcp:{address}"), &upstream, &[]);
    let listener = eventually("the port is free", || TcpListener::bind(address).ok());
    let mut sessions = Vec::new();
    for _ in 0..2 {
        let (line, _) = listener.accept().unwrap();
        line.set_read_timeout(Some(SOON)).unwrap();
        sessions.push(Device::new(line).greet());
    }
    assert_eq!(
        sessions[0], sessions[1],
        "nothing was sent in it, so it is the same session"
    );
    let (code, farewell, _) = gateway.stop();
    assert_eq!((code, &farewell["complete"]), (Some(0), &true.into()));
}

#[test]
fn a_server_that_does_not_answer_holds_up_the_end_no_longer_than_told() {
    let upstream = Upstream::start();
    upstream.always(Reply::Stall);
    let (line, path) = terminal();
    let gateway = Gateway::start(&path, &upstream, &["--shutdown-timeout", "200ms"]);
    let mut device = Device::new(line);
    device.greet();
    device.send(1, b"{}\n");
    upstream.wait_for(1);
    let (code, farewell, _) = gateway.stop();
    assert_eq!((code, &farewell["complete"]), (Some(3), &false.into()));
}

#[test]
fn without_a_destination_it_says_what_is_missing() {
    let mut command = program(&["serial", "/dev/null"]);
    for name in ["SENTRY_DSN", "OTEL_EXPORTER_OTLP_ENDPOINT"] {
        command.env_remove(name);
    }
    let output = command.output().unwrap();
    let errors = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert!(
        errors.contains("--dsn") && errors.contains("--otlp-endpoint"),
        "{errors}"
    );
    let wrong = program(&["serial", "/dev/null", "--dsn", "http://topsecret@"])
        .output()
        .unwrap();
    assert_eq!(wrong.status.code(), Some(2));
    assert!(!String::from_utf8(wrong.stderr).unwrap().contains("topsecret"));
}
