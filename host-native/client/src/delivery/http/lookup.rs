//! Name resolution by the operating system, on a few threads apart from the delivery thread.

use core::error::Error;
use core::fmt;
use core::task::{Context, Poll};
use std::net::{SocketAddr, ToSocketAddrs as _};
use std::pin::Pin;
use std::sync::Arc;

use tokio::sync::Semaphore;

use crate::delivery::fork::unforked_lookup;

/// Most names looked up at a time. A lookup cannot be cancelled and may hang in the C library; this bounds how many
/// threads can hang with it.
const MAX_LOOKUPS: usize = 4;

/// Name resolution failed: found again in the chain of causes of an error.
#[derive(Debug)]
pub(super) struct NotResolved;

impl fmt::Display for NotResolved {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the name could not be resolved")
    }
}

impl Error for NotResolved {}

/// Clones share the places.
#[derive(Clone)]
pub(super) struct Lookup {
    free: Arc<Semaphore>,
}

impl Default for Lookup {
    fn default() -> Self {
        Self {
            free: Arc::new(Semaphore::new(MAX_LOOKUPS)),
        }
    }
}

type Found = std::vec::IntoIter<SocketAddr>;

impl Lookup {
    /// Every address of `host`, with port 0.
    fn addresses(&self, host: String) -> impl Future<Output = Result<Found, NotResolved>> + Send + use<> {
        let free = Arc::clone(&self.free);
        async move {
            // Whoever waits here is dropped at its deadline; a lookup that has begun keeps its place until it ends.
            let place = free.acquire_owned().await.map_err(|_| NotResolved)?;
            let found = tokio::task::spawn_blocking(move || {
                let _place = place;
                unforked_lookup(|| (host.as_str(), 0).to_socket_addrs())
            })
            .await;
            match found {
                Ok(Ok(addresses)) if addresses.len() > 0 => Ok(addresses),
                _ => Err(NotResolved),
            }
        }
    }
}

/// For connections that `reqwest` makes.
impl reqwest::dns::Resolve for Lookup {
    fn resolve(&self, name: reqwest::dns::Name) -> reqwest::dns::Resolving {
        let addresses = self.addresses(name.as_str().to_owned());
        Box::pin(async move {
            let addresses: reqwest::dns::Addrs = Box::new(addresses.await?);
            Ok(addresses)
        })
    }
}

/// For connections that are made here.
impl tower_service::Service<hyper_util::client::legacy::connect::dns::Name> for Lookup {
    type Response = Found;
    type Error = NotResolved;
    type Future = Pin<Box<dyn Future<Output = Result<Found, NotResolved>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), NotResolved>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, name: hyper_util::client::legacy::connect::dns::Name) -> Self::Future {
        Box::pin(self.addresses(name.as_str().to_owned()))
    }
}
