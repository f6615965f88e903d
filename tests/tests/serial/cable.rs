//! The cable between the board and the gateway, which a test can pull out: at once, or after so many bytes.

use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;

/// No end of the cable in sight.
const WHOLE: i64 = i64::MAX / 2;

/// Two ports on loopback, connected while the cable is in. The board's connection stays when it is out, as a UART does: what
/// it sends then goes nowhere. Threads end with their connections, or with the test.
pub(crate) struct Cable {
    board: SocketAddr,
    gateway: SocketAddr,
    ends: Arc<Ends>,
}

struct Ends {
    plugged: AtomicBool,
    /// Bytes that the board may still send before the cable comes out.
    left: AtomicI64,
    board: Mutex<Option<TcpStream>>,
    gateway: Mutex<Option<TcpStream>>,
}

impl Cable {
    pub(crate) fn new() -> Self {
        let bind = || TcpListener::bind(("127.0.0.1", 0)).expect("a free loopback port");
        let (board, gateway) = (bind(), bind());
        let address = |listener: &TcpListener| listener.local_addr().expect("the port just bound");
        let cable = Self {
            board: address(&board),
            gateway: address(&gateway),
            ends: Arc::new(Ends {
                plugged: AtomicBool::new(true),
                left: AtomicI64::new(WHOLE),
                board: Mutex::new(None),
                gateway: Mutex::new(None),
            }),
        };
        let ends = Arc::clone(&cable.ends);
        thread::spawn(move || {
            for stream in board.incoming().flatten() {
                ends.carry_up(stream);
            }
        });
        let ends = Arc::clone(&cable.ends);
        thread::spawn(move || {
            for stream in gateway.incoming().flatten() {
                ends.carry_down(stream);
            }
        });
        cable
    }

    /// Where the board's UART is connected to.
    pub(crate) const fn board(&self) -> SocketAddr {
        self.board
    }

    /// Where the gateway finds the device.
    pub(crate) const fn gateway(&self) -> SocketAddr {
        self.gateway
    }

    pub(crate) fn unplug(&self) {
        self.ends.unplug();
    }

    /// Pulls it out when the board has sent so many more bytes.
    pub(crate) fn unplug_after(&self, bytes: u32) {
        self.ends.left.store(i64::from(bytes), Ordering::SeqCst);
    }

    pub(crate) fn plug(&self) {
        self.ends.left.store(WHOLE, Ordering::SeqCst);
        self.ends.plugged.store(true, Ordering::SeqCst);
    }

    pub(crate) fn is_plugged(&self) -> bool {
        self.ends.plugged.load(Ordering::SeqCst)
    }
}

impl Ends {
    fn unplug(&self) {
        let mut gateway = lock(&self.gateway);
        self.plugged.store(false, Ordering::SeqCst);
        if let Some(stream) = gateway.take() {
            // Gone already is as good.
            let _ = stream.shutdown(Shutdown::Both);
        }
    }

    /// Carries what the board sends, as long as the test lasts.
    fn carry_up(&self, mut stream: TcpStream) {
        let Ok(writer) = own(&stream) else { return };
        *lock(&self.board) = Some(writer);
        let mut buffer = [0; 256];
        while let Ok(read) = stream.read(&mut buffer) {
            if read == 0 {
                return;
            }
            let left = self.left.fetch_sub(read as i64, Ordering::SeqCst);
            let carried = usize::try_from(left.max(0)).map_or(read, |left| read.min(left));
            if let Some(gateway) = &mut *lock(&self.gateway) {
                // A connection that broke is found by the thread that reads it.
                let _ = gateway.write_all(&buffer[..carried]);
            }
            if left <= read as i64 {
                self.unplug();
            }
        }
    }

    /// Carries what the gateway sends, until it or the cable goes.
    fn carry_down(&self, mut stream: TcpStream) {
        let Ok(writer) = own(&stream) else { return };
        {
            let mut gateway = lock(&self.gateway);
            if !self.plugged.load(Ordering::SeqCst) {
                return;
            }
            *gateway = Some(writer);
        }
        let mut buffer = [0; 256];
        while let Ok(read) = stream.read(&mut buffer) {
            if read == 0 {
                break;
            }
            if let Some(board) = &mut *lock(&self.board) {
                let _ = board.write_all(&buffer[..read]);
            }
        }
        *lock(&self.gateway) = None;
    }
}

impl Drop for Cable {
    fn drop(&mut self) {
        self.unplug();
    }
}

fn own(stream: &TcpStream) -> io::Result<TcpStream> {
    stream.set_nodelay(true)?;
    stream.try_clone()
}

/// A test that failed with it locked does not keep others from it.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
