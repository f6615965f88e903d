//! The service, and a visitor who asks it something.

use std::io;
use std::net::SocketAddr;

use axum::Router;
use axum::extract::{Path, Request};
use axum::http::StatusCode;
use axum::routing::get;
use sentry::integrations::tower::{NewSentryLayer, SentryHttpLayer};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;

/// One order in so many is missing.
pub(crate) const MISSES: u64 = 10;

/// Serves until that many requests were made.
pub(crate) async fn serve(requests: u64) -> io::Result<()> {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
    let address = listener.local_addr()?;
    // The layer that is added last is the first to see a request: a hub for each request, then its transaction.
    let service = Router::new()
        .route("/orders/{id}", get(order))
        .layer(SentryHttpLayer::new().enable_transaction())
        .layer(NewSentryLayer::<Request>::new_from_top());
    let (stop, stopped) = oneshot::channel::<()>();
    let server = axum::serve(listener, service).with_graceful_shutdown(async {
        // Dropped or sent, both mean the end.
        let _ = stopped.await;
    });
    let server = tokio::spawn(server.into_future());
    for number in 0..requests {
        visit(address, number).await?;
    }
    // Nobody to tell if the server ended by itself.
    let _ = stop.send(());
    server.await?
}

async fn order(Path(id): Path<u64>) -> (StatusCode, String) {
    if id % MISSES == MISSES - 1 {
        sentry::capture_message(&format!("order {id} is missing"), sentry::Level::Error);
        (StatusCode::NOT_FOUND, String::new())
    } else {
        (StatusCode::OK, format!("order {id}: three apples"))
    }
}

async fn visit(address: SocketAddr, number: u64) -> io::Result<()> {
    let mut stream = TcpStream::connect(address).await?;
    let request = format!("GET /orders/{number} HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await?;
    if answer.starts_with(b"HTTP/1.1 ") {
        Ok(())
    } else {
        Err(io::Error::other("the service did not answer"))
    }
}
