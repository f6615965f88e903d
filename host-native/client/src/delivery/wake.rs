//! Waking the delivery thread from any other thread, from a signal handler, or from a destructor.
//!
//! The record path may do no more than one system call that cannot block, takes no lock and allocates nothing.
//! Runtime primitives do not promise that (`tokio::sync::Notify` locks a mutex once somebody waits), so the bell is a
//! socket of its own: ringing sends one byte without blocking, the delivery thread waits until the other end is
//! readable. A full socket means that bytes are waiting to be read, so a ring that is refused is not lost. It is a
//! datagram socket because writing to a stream whose other end is gone raises `SIGPIPE` in a process that does not
//! ignore it.
//!
//! Rings are rare: the intake asks for one only when the delivery thread said that it goes to sleep.

use std::io;

#[cfg(not(unix))]
use std::net::UdpSocket as RingSocket;
#[cfg(unix)]
use std::os::unix::net::UnixDatagram as RingSocket;
#[cfg(not(unix))]
use tokio::net::UdpSocket as BellSocket;
#[cfg(unix)]
use tokio::net::UnixDatagram as BellSocket;

/// The ringing end; shared by every thread.
#[derive(Debug)]
pub(crate) struct Ring {
    socket: RingSocket,
}

/// The waiting end; owned by the delivery thread.
#[derive(Debug)]
pub(crate) struct Bell {
    socket: BellSocket,
}

/// The waiting end before it belongs to a runtime.
#[derive(Debug)]
pub(crate) struct UnboundBell {
    socket: RingSocket,
}

/// A connected pair of both ends.
///
/// # Errors
/// When the process is out of file descriptors (or, where there are no Unix sockets, loopback is not there).
pub(crate) fn bell() -> io::Result<(Ring, UnboundBell)> {
    let (ring, bell) = socket_pair()?;
    ring.set_nonblocking(true)?;
    bell.set_nonblocking(true)?;
    Ok((Ring { socket: ring }, UnboundBell { socket: bell }))
}

#[cfg(unix)]
fn socket_pair() -> io::Result<(RingSocket, RingSocket)> {
    RingSocket::pair()
}

#[cfg(not(unix))]
fn socket_pair() -> io::Result<(RingSocket, RingSocket)> {
    let bell = RingSocket::bind(("127.0.0.1", 0))?;
    let ring = RingSocket::bind(("127.0.0.1", 0))?;
    ring.connect(bell.local_addr()?)?;
    bell.connect(ring.local_addr()?)?;
    Ok((ring, bell))
}

impl Ring {
    /// Wakes the delivery thread. One system call that never blocks; no lock, no allocation, no panic.
    pub(crate) fn ring(&self) {
        // Refused means full (it will wake anyway) or closed (nobody is there to wake): nothing to do in either case.
        let _ = self.socket.send(&[1]);
    }
}

impl UnboundBell {
    /// Joins the runtime of the calling thread; another one can be joined after it.
    ///
    /// # Errors
    /// When the process is out of file descriptors, or the runtime's poller does not take the socket.
    pub(crate) fn bind(&self) -> io::Result<Bell> {
        Ok(Bell {
            socket: BellSocket::from_std(self.socket.try_clone()?)?,
        })
    }
}

impl Bell {
    /// Waits for a ring and takes in all that have come so far. Dropping the future loses no ring.
    pub(crate) async fn wait(&self) {
        loop {
            if self.socket.readable().await.is_err() {
                // The runtime is going down; its caller sees that by itself.
                return;
            }
            if self.quiet() {
                return;
            }
        }
    }

    /// Takes in every ring so far; true when there was one.
    fn quiet(&self) -> bool {
        let mut rung = false;
        while self.socket.try_recv(&mut [0]).is_ok() {
            rung = true;
        }
        rung
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use core::time::Duration;

    fn runtime() -> tokio::runtime::Runtime {
        tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap()
    }

    #[test]
    fn a_ring_before_the_wait_ends_it_at_once() {
        let (ring, bell) = bell().unwrap();
        ring.ring();
        runtime().block_on(async {
            let bell = bell.bind().unwrap();
            bell.wait().await;
        });
    }

    #[test]
    fn a_ring_from_another_thread_ends_the_wait() {
        let (ring, bell) = bell().unwrap();
        runtime().block_on(async {
            let bell = bell.bind().unwrap();
            let thread = std::thread::spawn(move || {
                ring.ring();
                ring
            });
            bell.wait().await;
            thread.join().unwrap();
        });
    }

    #[test]
    fn many_rings_neither_block_nor_pile_up() {
        let (ring, bell) = bell().unwrap();
        for _ in 0..100_000 {
            ring.ring();
        }
        runtime().block_on(async {
            let bell = bell.bind().unwrap();
            bell.wait().await;
            // Paused time would never end this wait; a quiet bell makes the timeout win.
            let again = tokio::time::timeout(Duration::from_millis(1), bell.wait()).await;
            assert!(again.is_err(), "a ring was left over");
        });
    }

    #[test]
    fn a_dropped_wait_loses_no_ring() {
        let (ring, bell) = bell().unwrap();
        runtime().block_on(async {
            let bell = bell.bind().unwrap();
            assert!(tokio::time::timeout(Duration::ZERO, bell.wait()).await.is_err());
            ring.ring();
            bell.wait().await;
        });
    }
}
