//! The stub's server: one thread, one task per connection.

use std::io::Write as _;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use kit::http::{Connection, Incoming};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;
use tokio::time::Instant;

use super::answer::{Answer, answer, messages};
use super::ledger::Ledger;

/// Time limit of a receive (SQS: 20 s).
const MAX_WAIT_S: u64 = 20;

#[derive(Debug, Clone, Copy, clap::Args)]
pub(crate) struct Options {
    /// Port on the loopback address
    #[arg(long)]
    pub(crate) port: u16,
    /// Milliseconds added to every call
    #[arg(long)]
    pub(crate) latency_ms: u64,
}

struct State {
    ledger: Mutex<Ledger>,
    filled: Notify,
    latency: Duration,
    own_url: String,
}

/// Serves until the process ends.
pub(crate) async fn run(options: Options) -> anyhow::Result<()> {
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, options.port));
    let listener = TcpListener::bind(address).await?;
    let state = Arc::new(State {
        ledger: Mutex::default(),
        filled: Notify::new(),
        latency: Duration::from_millis(options.latency_ms),
        own_url: format!("http://{address}"),
    });
    loop {
        let (stream, _) = listener.accept().await?;
        let state = Arc::clone(&state);
        // The task ends with its client, at the latest with the process.
        tokio::spawn(async move {
            // A client may close its connection at any time.
            let _ = serve(stream, &state).await;
        });
    }
}

async fn serve(stream: TcpStream, state: &State) -> std::io::Result<()> {
    let mut connection = Connection::over(stream)?;
    let mut out = Vec::with_capacity(16 * 1024);
    while let Some(request) = connection.request().await? {
        let closes = request.closes;
        let (status, body) = respond(request, state).await;
        out.clear();
        write!(
            out,
            "HTTP/1.1 {status}\r\ncontent-type: application/x-amz-json-1.0\r\ncontent-length: {}\r\n\r\n",
            body.len()
        )?;
        out.extend_from_slice(body.as_bytes());
        connection.write(&out).await?;
        if closes {
            break;
        }
    }
    Ok(())
}

async fn respond(request: Incoming<'_>, state: &State) -> (&'static str, String) {
    let Some(action) = request.target else {
        return state.control(request.path);
    };
    let answered = answer(action, request.body, &state.own_url, &mut state.ledger());
    if !state.latency.is_zero() {
        tokio::time::sleep(state.latency).await;
    }
    match answered {
        Answer::Now(text) => ("200 OK", text),
        Answer::Messages { max, wait_s } => ("200 OK", state.receive(max, wait_s).await),
        Answer::Refused(reason) => {
            let body =
                serde_json::json!({ "__type": "com.amazonaws#InvalidRequest", "message": reason });
            ("400 Bad Request", body.to_string())
        }
    }
}

impl State {
    fn ledger(&self) -> MutexGuard<'_, Ledger> {
        self.ledger.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn receive(&self, max: u64, wait_s: u64) -> String {
        let until = Instant::now() + Duration::from_secs(wait_s.min(MAX_WAIT_S));
        loop {
            // The wait is registered before the ledger is read, so that no fill is missed.
            let filled = self.filled.notified();
            let taken = self.ledger().take(max);
            let is_over = taken.is_empty() && tokio::time::timeout_at(until, filled).await.is_err();
            if !taken.is_empty() || is_over {
                return messages(taken);
            }
        }
    }

    /// Answers the measurement's own requests: `GET /counts` and `GET /restart/<backlog>`.
    fn control(&self, path: &str) -> (&'static str, String) {
        let mut parts = path.split('/').skip(1);
        let (page, number) = (
            parts.next(),
            parts.next().and_then(|text| text.parse().ok()),
        );
        match (page, number) {
            (Some("counts"), None) => {
                let counts = serde_json::to_string(&self.ledger().counts());
                ("200 OK", counts.expect("counts are plain data"))
            }
            (Some("restart"), Some(backlog)) => {
                self.ledger().restart(backlog);
                self.filled.notify_waiters();
                ("200 OK", "{}".to_owned())
            }
            _ => ("404 Not Found", "{}".to_owned()),
        }
    }
}
