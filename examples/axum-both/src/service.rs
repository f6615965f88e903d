//! The service, and a visitor with a trace of its own who asks it something.

use std::io;
use std::net::SocketAddr;

use axum::Router;
use axum::extract::{Path, Request};
use axum::http::StatusCode;
use axum::middleware::{self, Next};
use axum::response::Response;
use axum::routing::get;
use opentelemetry::trace::{FutureExt as _, SpanKind, TraceContextExt as _, Tracer as _};
use opentelemetry::{Context, KeyValue, global};
use opentelemetry_http::HeaderExtractor;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;

/// Whether there is no such order.
pub(crate) fn is_missing(number: u64) -> bool {
    number % 10 == 9
}

/// The trace that the visitor's request belongs to.
pub(crate) fn trace_of(number: u64) -> String {
    format!("{:032x}", (1_u128 << 100) + u128::from(number))
}

/// Serves until that many requests were made.
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

/// The span of a request, in the trace of who asks.
async fn in_a_span(request: Request, next: Next) -> Response {
    let caller = global::get_text_map_propagator(|propagator| {
        propagator.extract_with_context(&Context::new(), &HeaderExtractor(request.headers()))
    });
    let tracer = global::tracer("orders");
    let builder = tracer
        .span_builder("GET /orders/{id}")
        .with_kind(SpanKind::Server)
        .with_attributes([
            KeyValue::new("http.request.method", request.method().to_string()),
            KeyValue::new("http.route", "/orders/{id}"),
        ]);
    let context = caller.with_span(tracer.build_with_context(builder, &caller));
    let response = next.run(request).with_context(context.clone()).await;
    let status = KeyValue::new("http.response.status_code", i64::from(response.status().as_u16()));
    context.span().set_attribute(status);
    context.span().end();
    response
}

async fn order(Path(id): Path<u64>) -> (StatusCode, String) {
    let found = global::tracer("orders").in_span("look up", |_| (!is_missing(id)).then_some("three apples"));
    match found {
        Some(order) => (StatusCode::OK, format!("order {id}: {order}")),
        None => {
            sentry::capture_message(&format!("order {id} is missing"), sentry::Level::Error);
            (StatusCode::NOT_FOUND, String::new())
        }
    }
}

/// Half of the visitors speak Sentry, the others W3C Trace Context.
async fn visit(address: SocketAddr, number: u64) -> io::Result<()> {
    let trace = trace_of(number);
    let header = if number.is_multiple_of(2) {
        format!("traceparent: 00-{trace}-00f067aa0ba902b7-01")
    } else {
        format!("sentry-trace: {trace}-00f067aa0ba902b7-1")
    };
    let mut stream = TcpStream::connect(address).await?;
    let request =
        format!("GET /orders/{number} HTTP/1.1\r\nhost: {address}\r\n{header}\r\nconnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await?;
    if answer.starts_with(b"HTTP/1.1 ") {
        Ok(())
    } else {
        Err(io::Error::other("the service did not answer"))
    }
}
