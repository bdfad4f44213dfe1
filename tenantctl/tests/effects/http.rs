//! Git's own HTTP server, `git http-backend`, behind a CGI host on 127.0.0.1; it can lose answers on request.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::Stdio;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::{Body, Bytes, to_bytes};
use axum::extract::{Request, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use tokio::io::AsyncWriteExt;
use tokio::runtime::Runtime;

use crate::remote::Remote;

/// A pack of a few commits.
const MAX_BODY_BYTES: usize = 64 << 20;

/// The server of one remote, stopped on drop.
pub(crate) struct HttpServer {
    address: SocketAddr,
    host: Arc<Host>,
    _runtime: Runtime,
}

struct Host {
    root: PathBuf,
    login: Option<String>,
    /// Address that every request is sent on to.
    redirect: Option<String>,
    pushes: Mutex<VecDeque<Push>>,
}

/// A scripted event of one push.
pub(crate) enum Push {
    /// The function runs before the push is read.
    After(Box<dyn FnOnce() + Send>),
    /// The push succeeds and its answer is lost.
    AnswerLost,
    /// The push fails and its answer is lost.
    Lost,
}

impl Push {
    /// Before each of these pushes, another writer commits.
    pub(crate) fn rivals(remote: &Arc<Remote>, count: usize) -> Vec<Self> {
        let rival = |number: usize| {
            let remote = Arc::clone(remote);
            Self::After(Box::new(move || remote.write("rival", &number.to_string())))
        };
        (0..count).map(rival).collect()
    }
}

impl HttpServer {
    /// Starts a server without authentication.
    pub(crate) fn open(remote: &Remote) -> Self {
        Self::start(remote, None, None)
    }

    /// Starts a server that redirects every request to another.
    pub(crate) fn redirecting(remote: &Remote, to: &str) -> Self {
        Self::start(remote, None, Some(to.to_owned()))
    }

    /// Starts a server that requires a user and a password.
    pub(crate) fn with_login(remote: &Remote, user: &str, password: &str) -> Self {
        Self::start(
            remote,
            Some(format!(
                "Basic {}",
                STANDARD.encode(format!("{user}:{password}"))
            )),
            None,
        )
    }

    fn start(remote: &Remote, login: Option<String>, redirect: Option<String>) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()
            .unwrap();
        let listener = runtime
            .block_on(tokio::net::TcpListener::bind("127.0.0.1:0"))
            .unwrap();
        let address = listener.local_addr().unwrap();
        let root = remote.scratch().to_owned();
        let host = Arc::new(Host {
            root,
            login,
            redirect,
            pushes: Mutex::default(),
        });
        let routes = Router::new().fallback(serve).with_state(Arc::clone(&host));
        runtime.spawn(async move { axum::serve(listener, routes).await });
        Self {
            address,
            host,
            _runtime: runtime,
        }
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}/gitops.git", self.address)
    }

    /// Scripts the next pushes, in order.
    pub(crate) fn next_pushes(&self, pushes: Vec<Push>) {
        self.host.pushes.lock().unwrap().extend(pushes);
    }

    /// Whether all scripted pushes have happened.
    pub(crate) fn is_done(&self) -> bool {
        self.host.pushes.lock().unwrap().is_empty()
    }
}

async fn serve(State(host): State<Arc<Host>>, request: Request) -> Response {
    let (head, body) = request.into_parts();
    if let Some(to) = &host.redirect {
        let path = head.uri.path_and_query().map_or("", |path| path.as_str());
        let to = format!("{}{path}", to.trim_end_matches('/'));
        return (StatusCode::FOUND, [(header::LOCATION, to)]).into_response();
    }
    let given = head
        .headers
        .get(header::AUTHORIZATION)
        .and_then(|value| value.to_str().ok());
    if host.login.is_some() && host.login.as_deref() != given {
        return (
            StatusCode::UNAUTHORIZED,
            [(header::WWW_AUTHENTICATE, "Basic realm=\"git\"")],
        )
            .into_response();
    }
    let is_push = head.uri.path().ends_with("/git-receive-pack");
    let push = if is_push {
        host.pushes.lock().unwrap().pop_front()
    } else {
        None
    };
    match push {
        None => {}
        Some(Push::After(act)) => tokio::task::spawn_blocking(act).await.unwrap(),
        Some(Push::Lost) => return StatusCode::BAD_GATEWAY.into_response(),
        Some(Push::AnswerLost) => {
            backend(&host, &head.uri, head.method.as_str(), &head.headers, body).await;
            return StatusCode::BAD_GATEWAY.into_response();
        }
    }
    backend(&host, &head.uri, head.method.as_str(), &head.headers, body).await
}

/// Calls `git http-backend` by RFC 3875.
async fn backend(
    host: &Host,
    uri: &axum::http::Uri,
    method: &str,
    headers: &HeaderMap,
    body: Body,
) -> Response {
    let body: Bytes = to_bytes(body, MAX_BODY_BYTES).await.unwrap();
    let text = |name: &str| {
        headers
            .get(name)
            .and_then(|value| value.to_str().ok())
            .unwrap_or_default()
            .to_owned()
    };
    let mut child = tokio::process::Command::new("git")
        .arg("http-backend")
        .env_clear()
        .env("PATH", std::env::var_os("PATH").unwrap_or_default())
        .envs([
            ("GIT_CONFIG_GLOBAL", "/dev/null"),
            ("GIT_CONFIG_NOSYSTEM", "1"),
            ("GIT_HTTP_EXPORT_ALL", "1"),
        ])
        .env("GIT_PROJECT_ROOT", &host.root)
        .env("PATH_INFO", uri.path())
        .env("QUERY_STRING", uri.query().unwrap_or_default())
        .env("REQUEST_METHOD", method)
        .env("CONTENT_TYPE", text("content-type"))
        .env("CONTENT_LENGTH", body.len().to_string())
        .env("HTTP_CONTENT_ENCODING", text("content-encoding"))
        .env("HTTP_GIT_PROTOCOL", text("git-protocol"))
        .env("REMOTE_ADDR", "127.0.0.1")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let feed = async move {
        // A backend that stops reading its input has answered already.
        let _ = stdin.write_all(&body).await;
    };
    let (output, ()) = tokio::join!(child.wait_with_output(), feed);
    answer(&output.unwrap().stdout)
}

fn answer(output: &[u8]) -> Response {
    let end = output
        .windows(4)
        .position(|four| four == b"\r\n\r\n")
        .expect("a CGI answer has a head");
    let mut response = Response::builder();
    for line in std::str::from_utf8(&output[..end]).unwrap().split("\r\n") {
        let (name, value) = line.split_once(": ").unwrap();
        response = match name {
            "Status" => response.status(value.split(' ').next().unwrap()),
            _ => response.header(name, value),
        };
    }
    response
        .body(Body::from(output[end + 4..].to_vec()))
        .unwrap()
}

/// An attacker's server: it asks for a password, and records the head of every request.
pub(crate) struct RedirectTarget {
    address: SocketAddr,
    heard: Arc<Mutex<String>>,
}

impl RedirectTarget {
    pub(crate) fn start() -> Self {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let heard = Arc::new(Mutex::new(String::new()));
        let log = Arc::clone(&heard);
        // The thread ends with the process.
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let _ = listen(stream.unwrap(), &log);
            }
        });
        Self { address, heard }
    }

    /// Another name than the address that it redirects from.
    pub(crate) fn url(&self) -> String {
        format!("http://localhost:{}/", self.address.port())
    }

    pub(crate) fn heard(&self) -> String {
        self.heard.lock().unwrap().clone()
    }
}

fn listen(mut stream: std::net::TcpStream, log: &Mutex<String>) -> std::io::Result<()> {
    use std::io::{BufRead, Write};
    let mut head = String::new();
    let mut lines = std::io::BufReader::new(stream.try_clone()?).lines();
    while let Some(Ok(line)) = lines.next()
        && !line.is_empty()
    {
        head += &format!("{line}\n");
    }
    log.lock().unwrap().push_str(&head);
    stream.write_all(
        b"HTTP/1.1 401 Unauthorized\r\nWWW-Authenticate: Basic realm=\"git\"\r\nContent-Length: 0\r\nConnection: close\r\n\r\n",
    )
}
