//! `watch`: the engine's events, told as changes of functions.
//!
//! An event only says *which* function to look at; what is told is always read anew, in one list.
//! Cursors are `s/SINCE/BORN/LAST` within a snapshot and `f/SINCE/BORN/LOOKED/SUM/PENDING` after it: `SINCE`
//! is a time of the engine's own clock, `BORN` the time of the snapshot, `LAST` the last name of the page
//! before. `PENDING` are functions that are looked at again a moment later: those whose instances were not
//! all there when they were told, and those that an event was about, since lists follow events by a moment.
//!
//! Containers on other machines of a swarm have no event here. So all services are looked at every few
//! seconds (`look-seconds`): `LOOKED` is when that was, `SUM` what their counts came to. Where the sum
//! is another one, everything is told.

use std::time::Duration;

use serde_json::Value;

use wicketgate_sdk::http::Request;
use wicketgate_sdk::{
    ChangeSet, ErrorKind, FunctionRef, FunctionState, ProviderError, Result, ServiceStatus, Watch, clock,
};

use crate::Docker;
use crate::api::{Elements, by_name, filters, number, parse, success, text, url};
use crate::names::{self, function_of, swarm_name};
use crate::settings::Mode;

/// The most functions of one answer, as the contract has it.
const PAGE: usize = 1000;

/// How much of the stream of events is read at once, in bytes.
const PIECE_BYTES: usize = 16 << 10;

/// How long functions whose instances are not all there wait before they are looked at again.
const LOOK_AGAIN: Duration = Duration::from_millis(200);

/// How far the host's clock may be ahead of ours when it says that a wait is over.
const CLOCK_SLACK: Duration = Duration::from_millis(5);

/// How often that happens within one call; each costs two requests of its budget.
const LOOKS: u32 = 10;

/// The most functions that are looked at again; a cursor has 4096 bytes.
const PENDING: usize = 12;

/// The longest name that fits among them.
const PENDING_NAME_BYTES: usize = 128;

/// How many functions a single answer's events may touch before a snapshot is cheaper, and the engine's
/// memory of events (256) may have overflowed.
const EVENTS_MAX: usize = 200;

/// How long a snapshot is built upon. The engine forgets old events silently, so the whole is read anew
/// now and then.
const BORN_MS: u64 = 10 * 60 * 1000;

/// What the engine is asked to tell. Podman's word for `die` is `died` where it is asked, and for `destroy` it
/// is `remove`.
const ACTIONS: [&str; 10] =
    ["create", "update", "remove", "start", "die", "died", "destroy", "pause", "unpause", "health_status"];

/// A function's name and namespace.
type Key = (String, String);

/// The functions' states.
type States = Vec<(Key, ServiceStatus)>;

/// Functions that are looked at again, and what was told of them: wanted and available.
type Pending = Vec<(Key, (u64, u64))>;

/// What a part of the stream said.
#[derive(Default)]
struct News {
    /// The engine's time of the last event, in nanoseconds.
    last: u64,
    events: usize,
    functions: Vec<Key>,
    /// Services, whose events carry no labels.
    services: Vec<String>,
}

/// Where a watch stands.
struct Place {
    /// Nanoseconds of the engine's clock; events from here on are news.
    since: u64,
    /// When its snapshot began.
    born: u64,
    /// When all functions were compared last, and what their counts came to.
    looked: u64,
    sum: u64,
    pending: Pending,
}

impl Watch for Docker {
    fn changes(&self, namespaces: &[String], cursor: Option<&str>, timeout: Duration) -> Result<ChangeSet> {
        let Some(cursor) = cursor else {
            let since = self.engine_time()?;
            return self.snapshot(namespaces, since, clock::now_ms(), "");
        };
        let foreign = || ProviderError::cursor_expired(format!("{cursor:?} is no cursor of docker"));
        let mut parts = cursor.splitn(4, '/');
        let mut part = || parts.next().ok_or_else(foreign);
        let (kind, since, born, rest) = (part()?, part()?, part()?, part()?);
        let number = |text: &str| text.parse::<u64>().map_err(|_not_one| foreign());
        let (since, born) = (number(since)?, number(born)?);
        match kind {
            "s" => self.snapshot(namespaces, since, born, rest),
            "f" if clock::now_ms().abs_diff(born) > BORN_MS => {
                Err(ProviderError::cursor_expired("it is time for a new snapshot"))
            }
            "f" => {
                let mut parts = rest.splitn(3, '/');
                let mut part = || parts.next().ok_or_else(foreign);
                let (looked, sum) = (number(part()?)?, number(part()?)?);
                let pending = read_pending(part()?).ok_or_else(foreign)?;
                self.follow(namespaces, Place { since, born, looked, sum, pending }, timeout)
            }
            _ => Err(foreign()),
        }
    }
}

impl Docker {
    /// A page of all functions after the name `last`.
    fn snapshot(&self, namespaces: &[String], since: u64, born: u64, last: &str) -> Result<ChangeSet> {
        let joined = |state: &(Key, ServiceStatus)| format!("{}.{}", state.0.0, state.0.1);
        let mut states = self.states(namespaces)?;
        let place = Place { since, born, looked: clock::now_ms(), sum: sum(&states), pending: Pending::new() };
        states.retain(|state| joined(state).as_str() > last);
        let mut states = by_name(states, &joined);
        let complete = states.len() <= PAGE;
        states.truncate(PAGE);
        let cursor = match states.last() {
            Some(state) if !complete => format!("s/{since}/{born}/{}", joined(state)),
            _ => place.cursor(),
        };
        let changed = states.into_iter().map(|(key, status)| told(key, status)).collect();
        Ok(ChangeSet { changed, removed: Vec::new(), cursor, complete })
    }

    /// Waits for events, and tells the functions that they touch.
    fn follow(&self, namespaces: &[String], mut place: Place, timeout: Duration) -> Result<ChangeSet> {
        let until = clock::monotonic() + timeout;
        for _ in 0..LOOKS {
            let left = until.saturating_sub(clock::monotonic());
            let mut wait = if place.pending.is_empty() { left } else { left.min(LOOK_AGAIN) };
            let next_look = self.next_look(&place);
            if let Some(next) = next_look {
                wait = wait.min(Duration::from_millis(next.saturating_sub(clock::now_ms())));
            }
            let news = self.news(place.since, wait)?;
            let is_due = next_look.is_some_and(|next| clock::now_ms() >= next);
            if news.events > EVENTS_MAX {
                return Err(ProviderError::cursor_expired("too much happened at once"));
            }
            place.since = place.since.max(news.last.saturating_add(u64::from(news.last > 0)));
            if news.events > 0 || !place.pending.is_empty() || is_due {
                let (changed, removed) = self.look(namespaces, &news, &mut place, is_due)?;
                if !changed.is_empty() || !removed.is_empty() {
                    return Ok(ChangeSet { changed, removed, cursor: place.cursor(), complete: true });
                }
            }
            if clock::monotonic() >= until {
                break;
            }
        }
        Ok(ChangeSet { changed: Vec::new(), removed: Vec::new(), cursor: place.cursor(), complete: true })
    }

    /// When all services are to be compared again, in milliseconds since 1970; `None`: never.
    fn next_look(&self, place: &Place) -> Option<u64> {
        let millis = self.settings.look_seconds * 1000;
        (self.settings.mode == Mode::Swarm && millis > 0).then(|| place.looked.saturating_add(millis))
    }

    /// Reads all functions, and finds what is new about those that `news` or the place names; with `all`, about
    /// any of them.
    fn look(
        &self,
        namespaces: &[String],
        news: &News,
        place: &mut Place,
        all: bool,
    ) -> Result<(Vec<FunctionState>, Vec<FunctionRef>)> {
        let states = self.states(namespaces)?;
        let mut touched: Vec<Key> = Vec::new();
        if all {
            place.looked = clock::now_ms();
            let sum = sum(&states);
            if std::mem::replace(&mut place.sum, sum) != sum {
                if states.len() > PAGE {
                    return Err(ProviderError::cursor_expired("something changed among too many functions"));
                }
                touched.extend(states.iter().map(|(key, _)| key.clone()));
            }
        }
        let mut touch = |key: &Key| {
            if !touched.contains(key) && namespaces.contains(&key.1) {
                touched.push(key.clone());
            }
        };
        place.pending.iter().for_each(|(key, _)| touch(key));
        news.functions.iter().for_each(&mut touch);
        // A service that is there has its labels; one that is gone has the name that it would have.
        for (key, _) in &states {
            if news.services.contains(&swarm_name(&key.0, &key.1, &self.settings)) {
                touch(key);
            }
        }
        for name in &news.services {
            self.each_named(name, &mut |key| {
                if states.iter().all(|(known, _)| known != key) {
                    touch(key);
                }
            });
        }
        let before = std::mem::take(&mut place.pending);
        let (mut changed, mut removed) = (Vec::new(), Vec::new());
        for key in touched {
            let Some((_, status)) = states.iter().find(|(known, _)| *known == key) else {
                removed.push(FunctionRef { name: key.0, namespace: key.1 });
                continue;
            };
            let counts = (status.replicas, status.available_replicas);
            let fits = place.pending.len() < PENDING && key.0.len() + key.1.len() <= PENDING_NAME_BYTES;
            // The engine tells of a change a moment before its lists show it.
            let is_news =
                news.functions.contains(&key) || news.services.contains(&swarm_name(&key.0, &key.1, &self.settings));
            if (is_news || counts.0 != counts.1) && fits {
                place.pending.push((key.clone(), counts));
            }
            if !before.contains(&(key.clone(), counts)) {
                changed.push(told(key, status.clone()));
            }
        }
        Ok((changed, removed))
    }

    /// The functions that a service of this name can be.
    fn each_named(&self, name: &str, take: &mut dyn FnMut(&Key)) {
        let first = self.settings.first_namespace();
        take(&(name.to_owned(), first.to_owned()));
        for namespace in self.settings.namespaces.iter().filter(|namespace| *namespace != first) {
            if let Some(rest) = name.strip_prefix(namespace.as_str()).and_then(|rest| rest.strip_prefix('_')) {
                take(&(rest.to_owned(), namespace.clone()));
            }
        }
    }

    /// The state of every function: one request.
    fn states(&self, namespaces: &[String]) -> Result<States> {
        let mut states = States::new();
        let is_own = |namespace: &str| namespaces.iter().any(|own| own == namespace);
        match self.settings.mode {
            Mode::Swarm => self.each_service(&mut |name, namespace, service| {
                if is_own(namespace) {
                    states.push(((name.to_owned(), namespace.to_owned()), service.status()));
                }
            })?,
            Mode::Engine => {
                for group in self.groups()? {
                    self.sweep(&group);
                    if is_own(&group.namespace) {
                        let status = group.status();
                        states.push(((group.service, group.namespace), status));
                    }
                }
            }
        }
        Ok(states)
    }

    /// The engine's time in nanoseconds, rounded down to a second: what happens while the snapshot is
    /// read is told again afterwards.
    fn engine_time(&self) -> Result<u64> {
        let answer = success(Request::get(url("version")).send()?, "version")?;
        let date = answer.header("date").and_then(parse_date);
        Ok(date.unwrap_or_else(|| clock::now_ms() / 1000).saturating_mul(1_000_000_000))
    }

    /// Waits up to `wait` for the first event from `since` on, and reads those that came with it.
    fn news(&self, since: u64, wait: Duration) -> Result<News> {
        let mut news = News::default();
        let types: &[&str] = match self.settings.mode {
            Mode::Swarm => &["container", "service"],
            Mode::Engine => &["container"],
        };
        // Not by label: Podman knows no label without its value, and would tell nothing.
        let wanted = filters(&[("type", types), ("event", &ACTIONS)]);
        let since = format!("{}.{:09}", since / 1_000_000_000, since % 1_000_000_000);
        let request = Request::get(url("events")).query("since", &since).query("filters", &wanted);
        let begun = clock::monotonic();
        // The silence of the stream may reach us as a connection that broke; the clock tells them apart.
        let is_over = |error: &ProviderError| {
            error.kind == ErrorKind::Timeout || clock::monotonic().saturating_sub(begun) + CLOCK_SLACK >= wait
        };
        let answer = match request.timeout(wait.max(Duration::from_millis(1))).send() {
            // Not even a head in time: nothing happened.
            Err(error) if is_over(&error) => return Ok(news),
            answer => answer?,
        };
        let mut answer = success(answer, "events")?;
        let mut elements = Elements::default();
        // One whole event is enough, and be it another container's: the caller knows how long to wait on.
        while news.last == 0 {
            let piece = match answer.read(PIECE_BYTES) {
                Err(error) if is_over(&error) => return Ok(news),
                piece => piece?,
            };
            let Some(piece) = piece else {
                return Err(ProviderError::unavailable("the engine ended the stream of events"));
            };
            elements.feed(&piece, &mut |element| {
                self.take(&mut news, &parse(element, "events")?);
                Ok(())
            })?;
        }
        Ok(news)
    }

    fn take(&self, news: &mut News, event: &Value) {
        news.last = news.last.max(number(event, "/timeNano"));
        let labels = names::labels(event, "/Actor/Attributes");
        match (text(event, "/Type"), function_of(&labels, &self.settings)) {
            ("service", _) => news.services.push(text(event, "/Actor/Attributes/name").to_owned()),
            (_, Some((name, namespace))) => news.functions.push((name.to_owned(), namespace.to_owned())),
            // Some other container.
            (_, None) => return,
        }
        news.events += 1;
    }
}

impl Place {
    fn cursor(&self) -> String {
        let mut cursor = format!("f/{}/{}/{}/{}/", self.since, self.born, self.looked, self.sum);
        for ((name, namespace), (asked, there)) in &self.pending {
            cursor += &format!("{name},{namespace},{asked},{there};");
        }
        cursor
    }
}

/// A number that is another one when counts are (FNV-1a over each function, added up: the order does not matter).
fn sum(states: &[(Key, ServiceStatus)]) -> u64 {
    let mut sum = 0_u64;
    for ((name, namespace), status) in states {
        let counts = [status.replicas.to_le_bytes(), status.available_replicas.to_le_bytes()].concat();
        let bytes = name.bytes().chain([0]).chain(namespace.bytes()).chain(counts);
        let hash =
            bytes.fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3));
        sum = sum.wrapping_add(hash);
    }
    sum
}

fn read_pending(text: &str) -> Option<Pending> {
    let read = |entry: &str| {
        let mut parts = entry.split(',');
        let key = (parts.next()?.to_owned(), parts.next()?.to_owned());
        Some((key, (parts.next()?.parse().ok()?, parts.next()?.parse().ok()?)))
    };
    text.split(';').filter(|entry| !entry.is_empty()).map(read).collect()
}

fn told(key: (String, String), status: ServiceStatus) -> FunctionState {
    FunctionState { function: FunctionRef { name: key.0, namespace: key.1 }, status }
}

/// The seconds since 1970 of e.g. `Tue, 24 Nov 2026 03:14:11 GMT` (RFC 9110 section 5.6.7).
fn parse_date(text: &str) -> Option<u64> {
    const MONTHS: [&str; 12] = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    let mut words = text.split_once(", ")?.1.split(' ');
    let (day, month, year, time) = (words.next()?, words.next()?, words.next()?, words.next()?);
    let month = MONTHS.iter().position(|name| *name == month)? + 1;
    wicketgate_sdk::time::parse_rfc3339(&format!("{year}-{month:02}-{day}T{time}Z")).map(|millis| millis / 1000)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_date_is_read() {
        assert_eq!(parse_date("Tue, 24 Nov 2026 03:14:11 GMT"), Some(1_795_490_051));
        for text in ["", "now", "Tue, 24 Xxx 2026 03:14:11 GMT", "2026-11-24T03:14:11Z"] {
            assert_eq!(parse_date(text), None, "{text}");
        }
    }

    #[test]
    fn a_cursor_holds_what_is_pending() {
        let pending = vec![(("echo".to_owned(), "dev".to_owned()), (3, 1))];
        let place = Place { since: 7, born: 8, looked: 9, sum: 10, pending };
        assert_eq!(place.cursor(), "f/7/8/9/10/echo,dev,3,1;");
        assert_eq!(read_pending("echo,dev,3,1;"), Some(place.pending));
        assert_eq!((read_pending(""), read_pending("echo,dev,x,1")), (Some(Pending::new()), None));
    }
}
