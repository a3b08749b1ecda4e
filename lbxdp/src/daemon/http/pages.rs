//! What there is to be asked for. Everything is read-only, and nothing that a client sends is sent back.

use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::Router;
use axum::extract::{Request, State};
use axum::http::header::{ALLOW, CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, REFERRER_POLICY};
use axum::http::header::{X_CONTENT_TYPE_OPTIONS, X_FRAME_OPTIONS};
use axum::http::{HeaderValue, Method, StatusCode, Uri};
use axum::middleware::{Next, from_fn};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use tokio::sync::{Mutex, MutexGuard};
use tokio::time::timeout;

use super::documents;
use super::hosts::Hosts;
use crate::cli::native::document;
use crate::daemon::load::chain;
use crate::daemon::look::Observer;
use crate::metrics::{self, Names, Others, Scene, ServerLimit};
use crate::snapshot::Overview;

/// How long a request may wait for those before it.
const PATIENCE: Duration = Duration::from_secs(10);
/// What a browser may do with an answer: nothing, but that the page may use its own style and script, and ask again.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self'; \
                      base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// What answers are made of.
#[derive(Clone)]
pub(super) struct Site {
    /// One request after the other looks.
    pub(super) observer: Arc<Mutex<(Observer, Others)>>,
    pub(super) servers: ServerLimit,
}

/// All paths.
pub(super) fn routes(site: Site, hosts: Hosts) -> Router {
    let hosts = Arc::new(hosts);
    Router::new()
        .route("/metrics", get(prometheus))
        .route("/api/v1/services", get(|State(site): State<Site>| site.document(services)))
        .route("/api/v1/servers", get(|State(site): State<Site>| site.document(servers)))
        .route("/api/v1/status", get(|State(site): State<Site>| site.document(documents::status)))
        .route("/api/v1/reasons", get(|State(site): State<Site>| site.document(documents::reasons)))
        .with_state(site)
        .route("/", get(|| async { file("text/html; charset=utf-8", include_str!("page/index.html")) }))
        .route(
            "/style.css",
            get(|| async { file("text/css; charset=utf-8", include_str!("page/style.css")) }),
        )
        .route(
            "/page.js",
            get(|| async { file("text/javascript; charset=utf-8", include_str!("page/page.js")) }),
        )
        .route("/icon.svg", get(|| async { file("image/svg+xml", include_str!("page/icon.svg")) }))
        .fallback(|| async { plain(StatusCode::NOT_FOUND, "there is no such page\n") })
        .layer(from_fn(move |request, next| guard(Arc::clone(&hosts), request, next)))
}

/// Lets questions through, and tells browsers what not to do with the answers.
async fn guard(hosts: Arc<Hosts>, request: Request, next: Next) -> Response {
    let mut response = match *request.method() {
        _ if !hosts.take(request.uri(), request.headers()) => plain(
            StatusCode::MISDIRECTED_REQUEST,
            "not by this name: by an address, or as --metrics-host says\n",
        ),
        Method::GET | Method::HEAD => next.run(request).await,
        _ => {
            let refusal = plain(StatusCode::METHOD_NOT_ALLOWED, "only to be read: GET or HEAD\n");
            ([(ALLOW, "GET, HEAD")], refusal).into_response()
        }
    };
    let headers = response.headers_mut();
    for (name, value) in [
        (X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (X_FRAME_OPTIONS, "DENY"),
        (REFERRER_POLICY, "no-referrer"),
        (CONTENT_SECURITY_POLICY, POLICY),
        (CACHE_CONTROL, "no-store"),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    response
}

async fn prometheus(State(site): State<Site>, uri: Uri) -> Response {
    let names = match uri.query() {
        None | Some("") => Names::Own,
        Some("names=node_ipvs") => Names::NodeIpvs,
        Some(_) => {
            return plain(StatusCode::BAD_REQUEST, "beside none there is one question: ?names=node_ipvs\n");
        }
    };
    let written =
        site.scene().await.and_then(|scene| metrics::text(names, scene).map_err(|_| Trouble::Broken));
    match written {
        Ok(text) => file(metrics::CONTENT_TYPE, text),
        Err(trouble) => trouble.into_response(),
    }
}

/// Why there is no answer.
#[derive(Clone, Copy, Debug)]
enum Trouble {
    /// Others are before, for too long.
    Busy,
    /// The tables cannot be read, or not be shown.
    Broken,
}

impl IntoResponse for Trouble {
    fn into_response(self) -> Response {
        match self {
            Self::Busy => plain(StatusCode::SERVICE_UNAVAILABLE, "too many ask at once\n"),
            Self::Broken => {
                let words = "the tables cannot be read: the daemon's log says why\n";
                plain(StatusCode::INTERNAL_SERVER_ERROR, words)
            }
        }
    }
}

impl Site {
    async fn observer(&self) -> Result<MutexGuard<'_, (Observer, Others)>, Trouble> {
        let waited = timeout(PATIENCE, self.observer.lock()).await;
        waited.map_err(|_| Trouble::Busy)
    }

    /// Everything as one of the documents.
    async fn document(self, document: fn(&Overview) -> String) -> Response {
        match self.overview().await {
            Ok(overview) => file("application/json", document(&overview)),
            Err(trouble) => trouble.into_response(),
        }
    }

    async fn overview(&self) -> Result<Overview, Trouble> {
        look(&mut self.observer().await?.0).await
    }

    async fn scene(&self) -> Result<Scene, Trouble> {
        let mut observer = self.observer().await?;
        let (observer, others) = &mut *observer;
        let begun = Instant::now();
        let overview = look(observer).await?;
        Ok(Scene::new(overview, self.servers, others, begun.elapsed()))
    }
}

async fn look(observer: &mut Observer) -> Result<Overview, Trouble> {
    observer.look().await.map_err(|error| {
        tracing::error!(error = chain(&error), "nothing can be shown");
        Trouble::Broken
    })
}

fn services(overview: &Overview) -> String {
    document::services(&overview.instance, &overview.services)
}

fn servers(overview: &Overview) -> String {
    document::servers(&overview.instance, &overview.services)
}

fn file(kind: &'static str, text: impl IntoResponse) -> Response {
    ([(CONTENT_TYPE, kind)], text).into_response()
}

fn plain(status: StatusCode, text: &'static str) -> Response {
    (status, [(CONTENT_TYPE, "text/plain; charset=utf-8")], text).into_response()
}
