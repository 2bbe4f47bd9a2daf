//! An upstream that answers every call with a gRPC status in its trailers, over HTTP/2 without TLS.

use std::convert::Infallible;
use std::net::{Ipv4Addr, SocketAddr};

use anyhow::Result;
use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::header::HeaderValue;
use hyper::service::service_fn;
use hyper::{HeaderMap, Request, Response};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

/// A listening server; it stops when dropped.
pub struct GrpcUpstream {
    addr: SocketAddr,
    task: JoinHandle<()>,
}

impl GrpcUpstream {
    /// Listens on a free port. The status is the last segment of the call's path: `/grpc/13`.
    pub async fn start() -> Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let addr = listener.local_addr()?;
        Ok(Self { addr, task: tokio::spawn(serve(listener)) })
    }

    /// Where it listens.
    #[must_use]
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }
}

impl Drop for GrpcUpstream {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn serve(listener: TcpListener) {
    while let Ok((stream, _)) = listener.accept().await {
        let server = hyper::server::conn::http2::Builder::new(TokioExecutor::new());
        tokio::spawn(server.serve_connection(TokioIo::new(stream), service_fn(answer)));
    }
}

async fn answer(
    request: Request<Incoming>,
) -> Result<Response<impl hyper::body::Body<Data = Bytes, Error = Infallible>>> {
    let status = request.uri().path().rsplit('/').next().unwrap_or_default();
    let trailers = HeaderMap::from_iter([("grpc-status".parse()?, HeaderValue::from_str(status)?)]);
    // An empty message, so that the status comes in trailers and not with the headers.
    let body = Full::new(Bytes::from_static(&[0; 5])).with_trailers(async move { Some(Ok(trailers)) });
    Ok(Response::builder().header("content-type", "application/grpc").body(body)?)
}
