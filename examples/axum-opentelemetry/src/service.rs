//! The service, and a visitor who asks it something.

use std::io;
use std::net::SocketAddr;

use axum::Router;
use axum::extract::{Path, Request};
use axum::http::StatusCode;
use axum::middleware::{self, Next};
use axum::response::Response;
use axum::routing::get;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;
use tracing::{Instrument as _, Span, error, info, info_span, instrument};

/// One around the request, one for the look-up in it.
pub(crate) const SPANS_PER_REQUEST: u64 = 2;

/// Found, or not found.
pub(crate) const LOGS_PER_REQUEST: u64 = 1;

/// Serves until that many requests were made, all but every tenth with an order that exists.
pub(crate) async fn serve(requests: u64) -> io::Result<()> {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
    let address = listener.local_addr()?;
    let service = Router::new()
        .route("/orders/{id}", get(order))
        .layer(middleware::from_fn(in_a_span));
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

/// The span of a request, with the names of the semantic conventions.
async fn in_a_span(request: Request, next: Next) -> Response {
    let span = info_span!(
        "request",
        otel.name = %format_args!("{} /orders/{{id}}", request.method()),
        otel.kind = "server",
        url.path = request.uri().path(),
        http.response.status_code = tracing::field::Empty,
    );
    let response = next.run(request).instrument(span.clone()).await;
    span.record("http.response.status_code", response.status().as_u16());
    response
}

async fn order(Path(id): Path<u64>) -> (StatusCode, String) {
    match look_up(id).await {
        Some(order) => {
            info!(order = id, "order found");
            (StatusCode::OK, order)
        }
        None => {
            error!(order = id, "no such order");
            (StatusCode::NOT_FOUND, String::new())
        }
    }
}

#[instrument(fields(otel.kind = "client", db.system.name = "none"))]
async fn look_up(id: u64) -> Option<String> {
    Span::current().record("otel.status_code", "ok");
    (id % 10 != 9).then(|| format!("order {id}: three apples"))
}

async fn visit(address: SocketAddr, number: u64) -> io::Result<()> {
    let mut stream = TcpStream::connect(address).await?;
    let request = format!("GET /orders/{number} HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await?;
    let status = if number % 10 == 9 { "404" } else { "200" };
    if answer.split(' ').nth(1) == Some(status) {
        Ok(())
    } else {
        Err(io::Error::other(format!("unexpected answer: {answer}")))
    }
}
