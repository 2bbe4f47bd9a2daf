//! Users without any key of their own: the filter gives each a cookie, and a user who keeps it stays on one version.
#![cfg(test)]

use anyhow::{Context, Result, ensure};
use hyper::Method;
use tests::case::Case;
use tests::chance::two_sided;
use tests::http;
use tests::manifest::Manifest;
use tests::stage::{Stage, WITHIN, WORKERS};
use tests::wait::until;

/// A bound that a right split breaks once in a million runs.
const RARE: f64 = 1e-6;
const USERS: usize = 300;

/// A client with a cookie jar for one cookie.
#[derive(Clone, Default)]
struct Client {
    cookie: Option<String>,
    version: String,
}

impl Client {
    /// Asks once on a connection of its own, and keeps what it is given.
    async fn ask(&mut self, stage: &Stage) -> Result<()> {
        let sent = self.cookie.clone();
        let headers: Vec<(&str, &str)> = sent.iter().map(|cookie| ("cookie", cookie.as_str())).collect();
        let answer = http::request(stage.envoy.addr(), Method::GET, "/", &headers, "").await?;
        ensure!(answer.status == 200, "{answer:?}");
        answer.header("x-version").context("no version")?.clone_into(&mut self.version);
        if let Some(given) = answer.header("set-cookie") {
            ensure!(self.cookie.is_none(), "{sent:?} was sent, and {given:?} given");
            ensure!(given.ends_with("; Max-Age=3600; Path=/; SameSite=Lax; HttpOnly"), "{given}");
            self.cookie = given.split(';').next().map(str::to_owned);
        }
        Ok(())
    }
}

/// Everyone asks, then twice more: the same version each time. Returns how many are on the canary.
async fn ask_all(clients: &mut [Client], stage: &Stage) -> Result<u64> {
    let mut on_canary = 0;
    for (n, client) in clients.iter_mut().enumerate() {
        client.ask(stage).await?;
        let first = client.version.clone();
        for _ in 0..2 {
            client.ask(stage).await?;
            ensure!(client.version == first, "client {n} with {:?} got {first} and {}", client.cookie, client.version);
        }
        on_canary += u64::from(first == "v2");
    }
    Ok(on_canary)
}

/// Waits for a weight and holds it there.
async fn hold_at(stage: &Stage, percent: f64) -> Result<()> {
    until("the next step", WITHIN, async || {
        let status = stage.status().await?;
        ensure!(status.weight_percent >= percent, "{}: {}", status.phase, status.message);
        Ok(())
    })
    .await?;
    stage.agent.cli(&["pause", "web"]).await?.ok()?;
    stage.weight(percent).await
}

#[tokio::test]
async fn users_stay_on_their_version_by_the_cookie_they_were_given() -> Result<()> {
    Case::run("affinity", async |case| {
        let affinity = "    sessionAffinity: { cookieName: serin-user, maxAge: 3600, httpOnly: true, sameSite: Lax }\n";
        let manifest = Manifest::quick("10, 50, 90")?.threshold(20)?;
        let manifest = manifest.edit("    metrics:\n", &format!("{affinity}    metrics:\n"))?;
        let stage = Stage::start(case, &manifest).await?;
        let mut early = Client::default();
        early.ask(&stage).await?;
        assert_eq!((early.cookie, early.version.as_str()), (None, "v1"), "no release is on");

        // Without a jar: each request is a new user. Also what the checks look at.
        let passers_by = stage.load().start(100.0).await?;
        stage.release("v2").await?;
        let mut clients = vec![Client::default(); USERS];
        let mut before = clients.clone();
        for percent in [10.0, 50.0] {
            hold_at(&stage, percent).await?;
            let on_canary = ask_all(&mut clients, &stage).await?;
            let chance = two_sided(USERS as u64, on_canary, percent / 100.0);
            assert!(chance >= RARE, "{on_canary} of {USERS} at {percent} %: chance {chance:e}");
            assert!(clients.iter().all(|client| client.cookie.is_some()), "each has a cookie, on either version");
            let left = before.iter().zip(&clients).filter(|(was, is)| was.version == "v2" && is.version == "v1");
            assert_eq!(left.count(), 0, "left the canary although it grew to {percent} %");
            before.clone_from(&clients);
            stage.agent.cli(&["resume", "web"]).await?.ok()?;
        }

        stage.abort().await?;
        stage.in_sync(WORKERS).await?;
        assert_eq!(ask_all(&mut clients, &stage).await?, 0, "with the cookie of the canary or of the primary");
        let mut late = Client::default();
        late.ask(&stage).await?;
        assert_eq!(late.cookie, None);
        ensure!(passers_by.stop().await?.bad() == 0, "bad answers");
        Ok(())
    })
    .await
}

#[tokio::test]
async fn long_answers_get_the_cookie_and_hostile_cookies_do_no_harm() -> Result<()> {
    Case::run("affinity-hostile", async |case| {
        let affinity = "    sessionAffinity: { cookieName: id }\n    metrics:\n";
        let stage = Stage::start(case, &Manifest::steady("50")?.edit("    metrics:\n", affinity)?).await?;
        stage.released_at(50.0).await?;
        let long = "x".repeat(20_000);
        for cookie in
            ["id=\"; Path=/", "id=%0d%0aset-cookie: a=b", "id=web-canary", &format!("id={long}"), "a=b;id=\u{e9}"]
        {
            let mut versions = Vec::new();
            for _ in 0..5 {
                let answer = http::request(stage.envoy.addr(), Method::GET, "/", &[("cookie", cookie)], "").await?;
                assert_eq!((answer.status, answer.header("set-cookie")), (200, None), "{cookie:.40}");
                versions.push(answer.header("x-version").map(str::to_owned));
            }
            versions.dedup();
            assert_eq!(versions.len(), 1, "{cookie:.40} is a user like any other");
        }
        let other = http::request(stage.envoy.addr(), Method::POST, "/", &[("cookie", "theme=dark")], &long).await?;
        assert!(other.header("set-cookie").is_some_and(|given| given.starts_with("id=")), "{other:?}");
        stage.abort().await
    })
    .await
}

#[tokio::test]
async fn an_answer_that_a_shared_cache_may_keep_brings_no_cookie() -> Result<()> {
    Case::run("affinity-cache", async |case| {
        let affinity = "    sessionAffinity: { cookieName: id }\n    metrics:\n";
        let stage = Stage::start(case, &Manifest::steady("50")?.edit("    metrics:\n", affinity)?).await?;
        stage.released_at(50.0).await?;
        for (control, has_cookie, after) in [
            (Some("public, max-age=60"), false, Some("public, max-age=60")),
            (Some("s-maxage=1"), false, Some("s-maxage=1")),
            (Some("private"), true, Some("private")),
            (None, true, Some("private")),
        ] {
            for version in [&stage.versions.primary, &stage.versions.canary] {
                version.set(|it| it.cache_control = control.map(str::to_owned));
            }
            for method in [Method::GET, Method::HEAD, Method::POST] {
                let answer = http::request(stage.envoy.addr(), method.clone(), "/", &[], "").await?;
                let found = (answer.header("set-cookie").is_some(), answer.header("cache-control"));
                assert_eq!(found, (has_cookie, after), "{method} {control:?}: {answer:?}");
            }
        }
        stage.abort().await
    })
    .await
}
