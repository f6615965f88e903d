//! The line: a terminal device, or a TCP connection to something that has one (an emulator, `ser2net`).

use std::fmt;
use std::fs::File;
use std::io;
use std::path::PathBuf;

use rustix::fs::{Mode, OFlags};
use rustix::termios::{ControlModes, OptionalActions, ioctl_tiocexcl, tcgetattr, tcsetattr};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::net::unix::pipe;

/// Where the device is. Exhaustive.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Port {
    /// `HOST:PORT`.
    Tcp(String),
    /// A terminal device.
    Tty(PathBuf),
}

impl Port {
    /// Reads `tcp:HOST:PORT`, or a path.
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        const RIGHT: &str = "write the path of a serial port, such as /dev/ttyUSB0, or tcp:HOST:PORT";
        let Some(address) = text.strip_prefix("tcp:") else {
            return if text.is_empty() {
                Err(format!("no port; {RIGHT}"))
            } else {
                Ok(Self::Tty(text.into()))
            };
        };
        let address = address.strip_prefix("//").unwrap_or(address);
        match address.rsplit_once(':') {
            Some((host, port)) if !host.is_empty() && port.parse::<u16>().is_ok_and(|port| port != 0) => {
                Ok(Self::Tcp(address.to_owned()))
            }
            _ => Err(format!("{text} is no address; {RIGHT}")),
        }
    }

    /// Opens it: a terminal raw (bytes as they are, no echo, no flow control by characters), at `baud`, and for this
    /// program alone.
    pub(super) async fn open(&self, baud: u32) -> io::Result<Line> {
        match self {
            Self::Tcp(address) => {
                let stream = TcpStream::connect(address).await?;
                // A confirmation is worth a packet of its own.
                stream.set_nodelay(true)?;
                let (reader, writer) = stream.into_split();
                Ok(Line::new(reader, writer))
            }
            Self::Tty(path) => {
                // Not blocking: without it, opening may wait for a modem's carrier for ever.
                let flags = OFlags::RDWR | OFlags::NOCTTY | OFlags::NONBLOCK | OFlags::CLOEXEC;
                let file = rustix::fs::open(path, flags, Mode::empty())?;
                let mut settings = tcgetattr(&file)?;
                settings.make_raw();
                settings.control_modes |= ControlModes::CREAD | ControlModes::CLOCAL;
                settings.control_modes -= ControlModes::CSTOPB | ControlModes::CRTSCTS;
                settings.set_speed(baud)?;
                // What arrived before means nothing.
                tcsetattr(&file, OptionalActions::Flush, &settings)?;
                ioctl_tiocexcl(&file)?;
                // A terminal is read and written, and waited for, as a pipe is.
                let writer = File::from(file.try_clone()?);
                let reader = pipe::Receiver::from_file_unchecked(File::from(file))?;
                Ok(Line::new(reader, pipe::Sender::from_file_unchecked(writer)?))
            }
        }
    }
}

impl fmt::Display for Port {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => write!(f, "tcp:{address}"),
            Self::Tty(path) => path.display().fmt(f),
        }
    }
}

/// An open port, in its two directions.
pub(super) struct Line {
    pub(super) reader: Box<dyn AsyncRead + Unpin>,
    pub(super) writer: Box<dyn AsyncWrite + Unpin>,
}

impl Line {
    fn new(reader: impl AsyncRead + Unpin + 'static, writer: impl AsyncWrite + Unpin + 'static) -> Self {
        Self {
            reader: Box::new(reader),
            writer: Box::new(writer),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_is_a_path_or_an_address() {
        assert_eq!(Port::parse("/dev/ttyUSB0"), Ok(Port::Tty("/dev/ttyUSB0".into())));
        assert_eq!(Port::parse("COM3"), Ok(Port::Tty("COM3".into())));
        for text in ["tcp:localhost:4000", "tcp://localhost:4000"] {
            assert_eq!(Port::parse(text), Ok(Port::Tcp("localhost:4000".to_owned())));
        }
        assert_eq!(
            Port::parse("tcp:[::1]:4000"),
            Ok(Port::Tcp("[::1]:4000".to_owned()))
        );
        for text in [
            "",
            "tcp:",
            "tcp:4000",
            "tcp:host",
            "tcp:host:0",
            "tcp:host:70000",
            "tcp::1",
        ] {
            assert!(Port::parse(text).is_err(), "{text}");
        }
    }
}
