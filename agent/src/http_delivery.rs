//! What hooks and alerts share: one POST with a clear verdict, how long to wait before the next, and texts about it
//! that show neither an address nor a secret. [`Hidden`] is also what keeps metric providers' reasons clean.

use std::error::Error;
use std::time::{Duration, SystemTime};

use base64::prelude::{BASE64_STANDARD, Engine};
use percent_encoding::percent_decode_str;
use reqwest::header::{HeaderMap, RETRY_AFTER};
use reqwest::redirect::Policy;
use reqwest::{ClientBuilder, RequestBuilder, Response, StatusCode, Url};
use rollout::base::time::Millis;

use crate::secrets::Secrets;

#[cfg(test)]
pub(crate) mod listener;

/// Longest part of an answer that goes into a message, in bytes.
const MAX_TEXT_BYTES: usize = 512;
/// As much of an answer is looked at: what is cut out of it is less than this.
const MAX_READ_BYTES: usize = 4 << 10;
/// How long the text of a refusal may take: the status has said enough.
const MAX_READ: Duration = Duration::from_secs(1);
/// Shorter parts of an address or a secret are left in a text: cutting them out would make it unreadable.
const MIN_HIDDEN_BYTES: usize = 4;
/// A part of a path that is as long is taken for a token.
const MIN_TOKEN_BYTES: usize = 16;

/// How long to wait between two attempts: doubling, with as much chance on top, never longer than `most`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Pace {
    /// The least first wait.
    pub first: Duration,
    /// The longest wait, also of those that a server asks for.
    pub most: Duration,
}

/// A POST that was not accepted.
#[derive(Debug)]
pub(crate) struct Refused {
    /// The status of the answer, if there was one.
    pub status: Option<u16>,
    /// Why, or what the answer said; without secrets.
    pub why: String,
    /// Whether the same request may be accepted later: network errors, 429 and 5xx.
    pub again: bool,
    /// When the server wants to be asked again.
    pub after: Option<Duration>,
}

/// Texts that must not appear in a message.
#[derive(Clone, Default)]
pub(crate) struct Hidden(Vec<String>);

impl Pace {
    /// The waits, without end.
    pub(crate) fn waits(self) -> impl Iterator<Item = Duration> + Send {
        let millis = |wait: Duration| Millis(u64::try_from(wait.as_millis()).unwrap_or(u64::MAX));
        let (first, most) = (millis(self.first), millis(self.most));
        (0..).map(move |doublings| {
            let least = Duration::from_millis(first.doubled(doublings, most).0);
            least.mul_f64(1.0 + fastrand::f64()).min(self.most)
        })
    }

    /// The next wait, at least what the server asked for.
    pub(crate) fn after(self, refused: &Refused, waits: &mut impl Iterator<Item = Duration>) -> Duration {
        let own = waits.next().unwrap_or(self.most);
        own.max(refused.after.unwrap_or_default()).min(self.most)
    }
}

impl Refused {
    /// A refusal that no repetition changes.
    pub(crate) fn finally(why: impl Into<String>) -> Self {
        Self { status: None, why: why.into(), again: false, after: None }
    }

    /// A sentence about it.
    pub(crate) fn said_by(&self, name: &str) -> String {
        match self.status {
            Some(status) => format!("{name} answered {status} {}", self.why).trim_end().to_owned(),
            None => format!("{name}: {}", self.why),
        }
    }
}

impl Hidden {
    /// Whatever of an address may be a secret: all of it, its query, long parts of its path, and its password, also as it
    /// is sent.
    pub(crate) fn of(url: &Url) -> Self {
        let mut hidden = Self::default();
        hidden.add(url.as_str());
        let path = url.path().split('/').filter(|part| part.len() >= MIN_TOKEN_BYTES);
        path.chain(url.query()).for_each(|part| hidden.add(part));
        let decoded = |part| percent_decode_str(part).decode_utf8_lossy();
        let (username, password) = (decoded(url.username()), url.password().map(decoded));
        // Without a password the user's name is the token.
        let secret = url.password().or(Some(url.username()));
        secret.into_iter().chain(password.as_deref().or(Some(&username))).for_each(|part| hidden.add(part));
        if !username.is_empty() || password.is_some() {
            hidden.add(&BASE64_STANDARD.encode(format!("{username}:{}", password.as_deref().unwrap_or_default())));
        }
        for pair in url.query().into_iter().flat_map(|query| query.split('&')) {
            hidden.add(pair.split_once('=').map_or(pair, |(_, value)| value));
        }
        url.query_pairs().for_each(|(_, value)| hidden.add(&value));
        hidden
    }

    /// Hides one more text, and its last word: `Bearer abc` is a secret because of `abc`.
    pub(crate) fn add(&mut self, secret: &str) {
        // As it stands in a cleaned text.
        let secret = visible(secret);
        let parts = [Some(secret.as_str()), secret.split_whitespace().next_back()];
        self.0.extend(parts.into_iter().flatten().filter(|part| part.len() >= MIN_HIDDEN_BYTES).map(str::to_owned));
        // The longest first: a part must not be cut out of the whole before the whole is found.
        self.0.sort_by_key(|part| std::cmp::Reverse(part.len()));
        self.0.dedup();
    }

    /// Hides what another one hides.
    pub(crate) fn merge(&mut self, other: &Self) {
        other.0.iter().for_each(|part| self.add(part));
    }

    /// A text for a message: on one line, without the hidden parts, of bounded length.
    pub(crate) fn clean(&self, text: &str) -> String {
        let mut text = visible(text);
        for part in &self.0 {
            text = text.replace(part, "…");
        }
        text.truncate(text.floor_char_boundary(MAX_TEXT_BYTES));
        text
    }

    /// The same of a text that was not read to its end: what it ends with may be the first half of a hidden part.
    pub(crate) fn clean_cut(&self, text: &str) -> String {
        // Half a character is none.
        let text = visible(text.trim_end_matches(char::REPLACEMENT_CHARACTER));
        let halved = |part: &String| {
            let least = text.len().saturating_sub(part.len());
            let ends = text.char_indices().map(|(at, _)| at).filter(|at| *at >= least);
            ends.into_iter().find(|at| text.get(*at..).is_some_and(|end| part.starts_with(end)))
        };
        let end = self.0.iter().filter_map(halved).min().filter(|at| text.len() - at >= MIN_HIDDEN_BYTES);
        match end.and_then(|at| text.get(..at)) {
            Some(kept) => self.clean(&format!("{kept}…")),
            None => self.clean(&text),
        }
    }
}

/// The first bytes of an answer.
pub(crate) struct AnswerPrefix {
    /// As text.
    pub text: String,
    /// Whether more would have come.
    pub is_cut: bool,
}

impl AnswerPrefix {
    /// For a message.
    pub(crate) fn clean(&self, hidden: &Hidden) -> String {
        if self.is_cut { hidden.clean_cut(&self.text) } else { hidden.clean(&self.text) }
    }
}

/// A client that follows no redirect: a POST would arrive there as a GET, and a secret at someone else's. It keeps no
/// connection: calls are seldom, so one that was kept would often be closed by then, and the call lost.
pub(crate) fn client() -> ClientBuilder {
    let agent = concat!("serin/", env!("CARGO_PKG_VERSION"));
    let builder = ClientBuilder::new().user_agent(agent).redirect(Policy::none()).pool_max_idle_per_host(0);
    builder.connect_timeout(Duration::from_secs(10))
}

/// Reads an address; the text about a wrong one does not show it.
pub(crate) fn address(text: &str) -> Result<Url, Refused> {
    let url = Url::parse(text).map_err(|error| Refused::finally(format!("its address is no URL: {error}")))?;
    if !matches!(url.scheme(), "http" | "https") || !url.has_host() {
        return Err(Refused::finally("its address must begin with http:// or https:// and name a host"));
    }
    Ok(url)
}

/// Reads what a request needs of secrets, in the time that the request may take.
pub(crate) async fn prepared<T: Send + 'static>(
    secrets: &Secrets,
    most: Duration,
    read: impl FnOnce(&Secrets) -> Result<T, Refused> + Send + 'static,
) -> Result<T, Refused> {
    match tokio::time::timeout(most, secrets.elsewhere(read)).await {
        Ok(read) => read.map_err(|error| Refused::finally(error.to_string()))?,
        Err(_) => {
            let why = format!("timed out: its secret could not be read within {} s", most.as_secs_f32());
            Err(Refused { again: true, ..Refused::finally(why) })
        }
    }
}

/// Sends one request; any 2xx is accepted.
pub(crate) async fn send(request: RequestBuilder, hidden: &Hidden) -> Result<Response, Refused> {
    let answer = request.send().await.map_err(|error| {
        let again = !error.is_builder();
        Refused { status: None, why: hidden.clean(&with_causes(&error.without_url())), again, after: None }
    })?;
    let status = answer.status();
    if status.is_success() {
        return Ok(answer);
    }
    let again = status == StatusCode::TOO_MANY_REQUESTS || status.is_server_error();
    let after = retry_after(answer.headers(), SystemTime::now());
    let why = start(answer, MAX_READ_BYTES).await.clean(hidden);
    Err(Refused { status: Some(status.as_u16()), why, again, after })
}

/// The first bytes of an answer, or what of them came in a second.
pub(crate) async fn start(mut answer: Response, most: usize) -> AnswerPrefix {
    let (mut text, mut is_cut) = (Vec::new(), true);
    let read = async {
        while text.len() <= most {
            match answer.chunk().await {
                Ok(Some(chunk)) => text.extend_from_slice(&chunk),
                end => {
                    is_cut = end.is_err();
                    break;
                }
            }
        }
    };
    let _ = tokio::time::timeout(MAX_READ, read).await;
    text.truncate(most);
    AnswerPrefix { text: String::from_utf8_lossy(&text).into_owned(), is_cut }
}

/// `Retry-After`, in seconds or as a date.
fn retry_after(headers: &HeaderMap, now: SystemTime) -> Option<Duration> {
    let text = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    if let Ok(seconds) = text.parse::<f64>() {
        return Duration::try_from_secs_f64(seconds).ok();
    }
    httpdate::parse_http_date(text).ok()?.duration_since(now).ok()
}

fn visible(text: &str) -> String {
    text.chars().filter(|c| !is_invisible(*c)).collect()
}

/// Control characters, and those that turn the direction of a text or its line.
fn is_invisible(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}')
}

/// reqwest's own text stops at "error sending request"; the reason is in the causes.
pub(crate) fn with_causes(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_with_chance_and_stay_within_their_limits() {
        let pace = Pace { first: Duration::from_secs(1), most: Duration::from_secs(30) };
        for _ in 0..100 {
            let mut least = pace.first;
            for wait in pace.waits().take(12) {
                assert!(wait >= least && wait <= (least * 2).min(pace.most), "{wait:?} after {least:?}");
                least = (least * 2).min(pace.most);
            }
        }
        assert_ne!(pace.waits().take(3).collect::<Vec<_>>(), pace.waits().take(3).collect::<Vec<_>>());
        let asked = |seconds| Refused { after: Some(Duration::from_secs(seconds)), ..Refused::finally("") };
        assert_eq!(pace.after(&asked(20), &mut pace.waits()), Duration::from_secs(20));
        assert_eq!(pace.after(&asked(86_400), &mut pace.waits()), pace.most);
        assert!(pace.after(&asked(0), &mut pace.waits()) >= pace.first);
    }

    #[test]
    fn retry_after_is_seconds_or_a_date() {
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(784_111_777);
        let read = |text: &str| retry_after(&HeaderMap::from_iter([(RETRY_AFTER, text.parse().unwrap())]), now);
        assert_eq!(read("7"), Some(Duration::from_secs(7)));
        assert_eq!(read("0.5"), Some(Duration::from_millis(500)));
        assert_eq!(read("Sun, 06 Nov 1994 08:49:47 GMT"), Some(Duration::from_secs(10)));
        for wrong in ["Sun, 06 Nov 1994 08:49:27 GMT", "-1", "NaN", "inf", "1e300", "soon", ""] {
            assert_eq!(read(wrong), None, "{wrong}");
        }
        assert_eq!(retry_after(&HeaderMap::new(), now), None);
    }

    #[test]
    fn a_text_is_one_bounded_line_without_secrets() {
        let url = Url::parse("https://bot:pass%21word@h.example/hooks/T0123456789abcdef/x?key=s3cret&n=1%2F2").unwrap();
        let mut hidden = Hidden::of(&url);
        hidden.add("Bearer xoxb-1");
        assert_eq!(hidden.clean(&format!("no {url} here")), "no … here");
        assert_eq!(hidden.clean("POST /hooks/T0123456789abcdef/x?key=s3cret"), "POST /hooks/…/x?key=…");
        assert_eq!(hidden.clean("Authorization: Bearer xoxb-1; xo\u{0}xb-1"), "Authorization: …; …");
        assert_eq!(hidden.clean("a\r\nb\u{1b}[31m\u{202e}c\u{9b}"), "ab[31mc");
        assert_eq!(hidden.clean("Basic Ym90OnBhc3Mhd29yZA== pass!word pass%21word"), "Basic … … …");
        let token = Hidden::of(&Url::parse("https://t0ken-1@h.example/").unwrap());
        assert_eq!(token.clean("t0ken-1 dDBrZW4tMTo="), "… …");
        assert_eq!(hidden.clean(&"é".repeat(1000)), "é".repeat(256));
        assert!(hidden.clean(&format!("a{}", "é".repeat(1000))).len() == 511);
    }

    #[test]
    fn of_a_text_that_is_cut_no_half_of_a_secret_is_shown() {
        let mut hidden = Hidden::default();
        let long = "0123456789".repeat(1000);
        hidden.add(&long);
        hidden.add("s3cret");
        for cut in 4..6 {
            assert_eq!(hidden.clean_cut(&format!("s3cret is not {}", &"s3cret"[..cut])), "… is not …");
        }
        assert_eq!(hidden.clean_cut(&format!("no {}", &long[..4096])), "no …");
        assert_eq!(hidden.clean_cut(&format!("no s3c\u{0}re{}", char::REPLACEMENT_CHARACTER)), "no …");
        assert_eq!(hidden.clean_cut("nothing of them s3c"), "nothing of them s3c", "too little to tell");
        assert_eq!(hidden.clean("it is whole: s3cre"), "it is whole: s3cre");
    }

    #[test]
    fn a_wrong_address_is_refused_without_being_shown() {
        for wrong in ["hooks.example/s3cret", "ftp://h/s3cret", "http://:80/s3cret", "file:///s3cret", "http://[s3cret"]
        {
            let refused = address(wrong).unwrap_err();
            assert!(!refused.why.contains("s3cret") && refused.why.starts_with("its address"), "{}", refused.why);
            assert!(!refused.again);
        }
    }
}
