//! A small HTTP/1.1 server on 127.0.0.1: it serves pages, or what a function answers, and misbehaves on purpose.

use std::collections::{HashMap, VecDeque};
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

/// What goes wrong with one request.
#[derive(Debug, Clone)]
pub enum Fault {
    /// Answers this status and these header lines, without a body.
    Status(u16, String),
    /// Closes the connection after so many bytes of the body.
    CutAfter(usize),
    /// Sends so many bytes of the body, then nothing.
    StallAfter(usize),
    /// Never answers.
    Silence,
    /// Sends this instead of the body, honouring a range, without a length.
    Instead(Vec<u8>),
    /// Says that the body has so many bytes more (or less) than it has.
    WrongLength(i64),
    /// Sends all of the body, whatever range was asked for.
    NoRanges,
    /// Sends a range that was not asked for.
    WrongRange,
    /// Waits so long before every 4 KiB.
    Slow(Duration),
    /// Redirects to this URL.
    Redirect(String),
}

/// One answered request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Served {
    /// The path that was asked for.
    pub path: String,
    /// The status of the answer.
    pub status: u16,
    /// Start of the range that was asked for.
    pub range_start: Option<u64>,
    /// Bytes of the body that were written to the socket.
    pub body_bytes: u64,
    /// The header fields of the request, in lowercase.
    pub headers: HashMap<String, String>,
}

/// Returns the body for a path, or `None` for the status 404.
type Handler = dyn Fn(&str) -> Option<Vec<u8>> + Send + Sync;

struct Shared {
    /// Answers what no page does.
    handler: Box<Handler>,
    pages: Mutex<HashMap<String, Page>>,
    served: Mutex<Vec<Served>>,
    stop: AtomicBool,
}

#[derive(Debug, Default, Clone)]
struct Page {
    body: Arc<Vec<u8>>,
    etag: Option<String>,
    faults: VecDeque<Fault>,
    always: Option<Fault>,
}

impl Page {
    /// A page of this body that never goes wrong, and that a client cannot ask for conditionally.
    fn of(body: Vec<u8>) -> Self {
        Self {
            body: Arc::new(body),
            ..Self::default()
        }
    }
}

/// The server; it ends with its value.
pub struct Server {
    address: SocketAddr,
    shared: Arc<Shared>,
}

impl Server {
    /// Starts on a free port, without any page.
    pub fn start() -> Self {
        Self::with(|_| None)
    }

    /// Starts on a free port; `handler` answers each path that is no page.
    pub fn with(handler: impl Fn(&str) -> Option<Vec<u8>> + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let shared = Arc::new(Shared {
            handler: Box::new(handler),
            pages: Mutex::default(),
            served: Mutex::default(),
            stop: AtomicBool::new(false),
        });
        let for_thread = Arc::clone(&shared);
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                if for_thread.stop.load(Ordering::SeqCst) {
                    return;
                }
                let shared = Arc::clone(&for_thread);
                thread::spawn(move || drop(shared.answer(stream)));
            }
        });
        Self { address, shared }
    }

    /// Serves `body` at `path` and gives its URL.
    pub fn page(&self, path: &str, body: impl Into<Vec<u8>>) -> String {
        let page = Page {
            body: Arc::new(body.into()),
            etag: Some(format!("\"tag of {path}\"")),
            ..Page::default()
        };
        self.shared.pages.lock().unwrap().insert(path.to_owned(), page);
        self.url(path)
    }

    /// Returns the URL of `path`, which begins with a slash or is empty.
    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// The next requests for `path` go wrong like this, one after the other.
    pub fn faults(&self, path: &str, faults: impl IntoIterator<Item = Fault>) {
        let mut pages = self.shared.pages.lock().unwrap();
        pages.entry(path.to_owned()).or_default().faults.extend(faults);
    }

    /// Every request for `path` goes wrong like this.
    pub fn always(&self, path: &str, fault: Fault) {
        let mut pages = self.shared.pages.lock().unwrap();
        pages.entry(path.to_owned()).or_default().always = Some(fault);
    }

    /// Every request that was answered so far.
    pub fn served(&self) -> Vec<Served> {
        self.shared.served.lock().unwrap().clone()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::SeqCst);
        drop(TcpStream::connect(self.address));
    }
}

impl Shared {
    fn answer(&self, stream: TcpStream) -> std::io::Result<()> {
        let mut reader = BufReader::new(stream.try_clone()?);
        let mut first = String::new();
        reader.read_line(&mut first)?;
        let path = first.split(' ').nth(1).unwrap_or_default().to_owned();
        let mut headers = HashMap::new();
        loop {
            let mut line = String::new();
            reader.read_line(&mut line)?;
            let Some((name, value)) = line.trim_end().split_once(": ") else {
                break;
            };
            headers.insert(name.to_ascii_lowercase(), value.to_owned());
        }
        let mut pages = self.pages.lock().unwrap();
        let page = pages.get_mut(&path).map(|page| {
            let fault = page.faults.pop_front().or_else(|| page.always.clone());
            (page.clone(), fault)
        });
        drop(pages);
        let page = page.or_else(|| Some((Page::of((self.handler)(&path)?), None)));
        let range_start = headers
            .get("range")
            .and_then(|range| range.strip_prefix("bytes=")?.strip_suffix('-')?.parse().ok());
        // Noted before anything is sent, so that a test sees it as soon as it has the answer.
        self.served.lock().unwrap().push(Served {
            path,
            status: 0,
            range_start,
            body_bytes: 0,
            headers: headers.clone(),
        });
        let index = self.served.lock().unwrap().len() - 1;
        let note = |status: u16, body_bytes: u64| {
            let mut served = self.served.lock().unwrap();
            served[index].status = status;
            served[index].body_bytes += body_bytes;
        };
        match page {
            None => {
                note(404, 0);
                empty(&stream, 404, "")
            }
            Some((page, fault)) => self.answer_page(&stream, &page, fault, range_start, &headers, &note),
        }
    }

    fn answer_page(
        &self,
        mut stream: &TcpStream,
        page: &Page,
        fault: Option<Fault>,
        range_start: Option<u64>,
        headers: &HashMap<String, String>,
        note: &dyn Fn(u16, u64),
    ) -> std::io::Result<()> {
        let body = match &fault {
            Some(Fault::Instead(other)) => other,
            _ => &*page.body,
        };
        let mut start = range_start.unwrap_or(0) as usize;
        match &fault {
            Some(Fault::Status(status, lines)) => {
                note(*status, 0);
                return empty(stream, *status, lines);
            }
            Some(Fault::Redirect(url)) => {
                note(302, 0);
                return empty(stream, 302, &format!("Location: {url}\r\n"));
            }
            Some(Fault::Silence) => return self.hang(),
            Some(Fault::NoRanges) => start = 0,
            Some(Fault::WrongRange) => start = start.saturating_sub(1),
            _ => {}
        }
        if page.etag.is_some() && headers.get("if-none-match") == page.etag.as_ref() {
            note(304, 0);
            return empty(stream, 304, "");
        }
        if start > body.len() {
            note(416, 0);
            return empty(stream, 416, "");
        }
        let (total, rest) = (body.len(), &body[start..]);
        let status = if start > 0 { 206 } else { 200 };
        note(status, 0);
        let mut head = format!("HTTP/1.1 {status} x\r\nConnection: close\r\n");
        if !matches!(fault, Some(Fault::Instead(_))) {
            let more = match fault {
                Some(Fault::WrongLength(more)) => more,
                _ => 0,
            };
            head += &format!(
                "Content-Length: {}\r\n",
                (rest.len() as u64).saturating_add_signed(more)
            );
        }
        if status == 206 {
            head += &format!("Content-Range: bytes {start}-{}/{total}\r\n", total.saturating_sub(1));
        }
        if let Some(etag) = &page.etag {
            head += &format!("ETag: {etag}\r\nLast-Modified: Sat, 01 Jan 2022 00:00:00 GMT\r\n");
        }
        stream.write_all((head + "\r\n").as_bytes())?;
        let (limit, pause) = match fault {
            Some(Fault::CutAfter(count) | Fault::StallAfter(count)) => (count, Duration::ZERO),
            Some(Fault::Slow(pause)) => (usize::MAX, pause),
            _ => (usize::MAX, Duration::ZERO),
        };
        for chunk in rest[..rest.len().min(limit)].chunks(4096) {
            thread::sleep(pause);
            stream.write_all(chunk)?;
            note(status, chunk.len() as u64);
        }
        match fault {
            Some(Fault::StallAfter(_)) => self.hang(),
            _ => Ok(()),
        }
    }

    fn hang(&self) -> std::io::Result<()> {
        while !self.stop.load(Ordering::SeqCst) {
            thread::sleep(Duration::from_millis(20));
        }
        Ok(())
    }
}

fn empty(mut stream: &TcpStream, status: u16, lines: &str) -> std::io::Result<()> {
    write!(
        stream,
        "HTTP/1.1 {status} x\r\nConnection: close\r\nContent-Length: 0\r\n{lines}\r\n"
    )
}
