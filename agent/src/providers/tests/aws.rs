//! Where Amazon keys come from without a secret: every source against one that answers as Amazon's, on loopback. The
//! chain reads this process's environment, so each case runs in a process of its own.

use std::process::Stdio;
use std::time::{Duration, Instant};

use rollout::release::integrations::ProviderKind;
use tempfile::TempDir;
use tokio::net::TcpListener;

use super::cloudwatch::{QUERY, in_region, results};
use super::{Asked, Reply, Scene, Server};

/// In these tests everything that must not be shown has this in it.
const SECRET: &str = "s3cret";
/// An hour after the moment of the query.
const LATE: &str = "2026-01-02T04:04:05Z";
/// Less than five minutes after it.
const SOON: &str = "2026-01-02T03:08:00Z";

/// What a process with this environment, and nothing else in it, says of its queries.
struct Place {
    folder: TempDir,
    cloudwatch: Server,
    environment: Vec<(&'static str, String)>,
}

impl Place {
    async fn new(environment: &[(&'static str, &str)]) -> Self {
        Self::answering(environment, |_| Reply::ok(&results(&["1"]))).await
    }

    async fn answering(
        environment: &[(&'static str, &str)],
        answer: impl Fn(&Asked) -> Reply + Clone + Send + Sync + 'static,
    ) -> Self {
        let environment = environment.iter().map(|(name, value)| (*name, (*value).to_owned())).collect();
        Self { folder: tempfile::tempdir().unwrap(), cloudwatch: Server::answering(answer).await, environment }
    }

    /// A variable that names a file with this text.
    fn with_file(mut self, variable: &'static str, text: &str) -> Self {
        let path = self.folder.path().join(variable);
        std::fs::write(&path, text).unwrap();
        self.environment.push((variable, path.to_str().unwrap().to_owned()));
        self
    }

    /// What it says of so many queries, and what it logs.
    async fn says(&self, times: usize) -> (Vec<String>, String) {
        let mut child = tokio::process::Command::new(std::env::current_exe().unwrap());
        child.args(["--exact", "providers::tests::aws::ask_in_this_environment", "--ignored", "--nocapture"]);
        child.env_clear().env("HOME", self.folder.path()).env("SERIN_TEST_TIMES", times.to_string());
        child.env("SERIN_TEST_CLOUDWATCH", self.cloudwatch.url());
        child.envs(self.environment.iter().map(|(name, value)| (name, value)));
        let output = child.stdin(Stdio::null()).kill_on_drop(true).output().await.unwrap();
        let said = String::from_utf8(output.stdout).unwrap() + &String::from_utf8(output.stderr).unwrap();
        assert!(output.status.success(), "{said}");
        (said.lines().filter_map(|line| line.strip_prefix("SAID ")).map(str::to_owned).collect(), said)
    }

    /// The reason of the one query that fails.
    async fn fails(&self) -> String {
        let (said, _) = self.says(1).await;
        said[0].strip_prefix("Err(Failed(\"").unwrap_or_else(|| panic!("{said:?} is no failure")).to_owned()
    }

    /// The one value, and whose keys CloudWatch was shown: the id and the token.
    async fn shows(&self) -> (String, String) {
        let (said, _) = self.says(1).await;
        assert_eq!(said, ["Ok(1.0)"]);
        let asked = self.cloudwatch.asked().await;
        let (_, id) = asked.header("authorization").split_once("Credential=").unwrap();
        let token = asked.headers.get("x-amz-security-token").map_or("", |token| token.to_str().unwrap());
        (id.split('/').next().unwrap().to_owned(), token.to_owned())
    }
}

/// Run by the tests below, each in the environment that it is about.
#[tokio::test]
#[ignore = "asks in whatever environment it is run; the other tests run it in theirs"]
async fn ask_in_this_environment() {
    let Ok(address) = std::env::var("SERIN_TEST_CLOUDWATCH") else { return };
    let times: usize = std::env::var("SERIN_TEST_TIMES").unwrap().parse().unwrap();
    let everything = tracing_subscriber::fmt().with_max_level(tracing::Level::TRACE).with_ansi(false);
    everything.with_writer(std::io::stdout).init();
    tracing::trace!("this is logged");
    let mut scene = in_region(Scene::new(ProviderKind::CloudWatch, &address, &[]));
    scene.providers.environment = |name| std::env::var(name).ok();
    if std::env::var("SERIN_TEST_INSECURE").is_ok() {
        // Whatever goes where any certificate is believed arrives at CloudWatch.
        scene.provider.insecure_skip_verify = true;
        let here = ([127, 0, 0, 1], 0).into();
        scene.providers.client = reqwest::Client::builder().resolve("sts.example", here).build().unwrap();
        let through = reqwest::Proxy::http(&address).unwrap();
        scene.providers.trusting = reqwest::Client::builder().proxy(through).build().unwrap();
    }
    for _ in 0..times {
        println!("SAID {:?}", scene.ask(QUERY).await);
    }
}

/// What EKS's and ECS's agents and, in its own words, an instance's metadata server answer.
fn granted(end: &str) -> Reply {
    Reply::ok(&format!(
        r#"{{"Code":"Success","Type":"AWS-HMAC","AccessKeyId":"AKIDGRANTED","SecretAccessKey":"{SECRET}-key",
            "Token":"{SECRET}-token","Expiration":"{end}","AccountId":"123456789012"}}"#
    ))
}

fn granted_by_sts() -> Reply {
    Reply::ok(&format!(
        r#"<AssumeRoleWithWebIdentityResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/">
            <AssumeRoleWithWebIdentityResult><Credentials><AccessKeyId>AKIDOFROLE</AccessKeyId>
            <SecretAccessKey>{SECRET}-key</SecretAccessKey><SessionToken>{SECRET}-session</SessionToken>
            <Expiration>{LATE}</Expiration></Credentials></AssumeRoleWithWebIdentityResult>
            </AssumeRoleWithWebIdentityResponse>"#
    ))
}

async fn with_web_identity(sts: &Server) -> Place {
    let environment = [
        ("AWS_ROLE_ARN", "arn:aws:iam::123456789012:role/serin"),
        ("AWS_ENDPOINT_URL_STS", &sts.url()),
        ("AWS_EC2_METADATA_DISABLED", "true"),
    ];
    Place::new(&environment).await.with_file("AWS_WEB_IDENTITY_TOKEN_FILE", "s3cret-web-identity")
}

async fn with_pod_identity(agent: &Server) -> Place {
    let environment = [("AWS_CONTAINER_CREDENTIALS_FULL_URI", &*format!("{}/v1/credentials", agent.url()))];
    Place::new(&environment).await.with_file("AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE", "s3cret-pod-identity")
}

#[tokio::test]
async fn the_keys_of_the_environment_come_first() {
    let place = Place::new(&[("AWS_ACCESS_KEY_ID", "AKIDOFENV"), ("AWS_SECRET_ACCESS_KEY", "key")]).await;
    assert_eq!(place.shows().await, ("AKIDOFENV".into(), String::new()));
    let place = Place::new(&[
        ("AWS_ACCESS_KEY_ID", "AKIDOFENV"),
        ("AWS_SECRET_ACCESS_KEY", "key"),
        ("AWS_SESSION_TOKEN", "session"),
    ]);
    assert_eq!(place.await.shows().await, ("AKIDOFENV".into(), "session".into()));
}

#[tokio::test]
async fn a_profile_gives_its_keys() {
    let keys = "[default]\naws_access_key_id = AKIDOFPROFILE\naws_secret_access_key = key\n";
    let place = Place::new(&[]).await.with_file("AWS_SHARED_CREDENTIALS_FILE", keys);
    assert_eq!(place.shows().await.0, "AKIDOFPROFILE");
}

#[tokio::test]
async fn a_profile_runs_no_program() {
    let folder = tempfile::tempdir().unwrap();
    let proof = folder.path().join("ran");
    let profile = format!("[default]\ncredential_process = /usr/bin/touch {}\n", proof.display());
    let refused = Place::new(&[]).await.with_file("AWS_CONFIG_FILE", &profile).fails().await;
    assert!(refused.contains("credentials-process") && !proof.exists(), "{refused}");
}

#[tokio::test]
async fn a_web_identity_is_exchanged_for_a_roles_keys() {
    let sts = Server::start(granted_by_sts()).await;
    let place = with_web_identity(&sts).await;
    assert_eq!(place.shows().await, ("AKIDOFROLE".into(), "s3cret-session".into()));
    let asked = sts.asked().await;
    assert_eq!(asked.line(), "POST /");
    for part in [
        "Action=AssumeRoleWithWebIdentity&",
        "&RoleArn=arn%3Aaws%3Aiam%3A%3A123456789012%3Arole%2Fserin&",
        "&WebIdentityToken=s3cret-web-identity",
    ] {
        assert!(asked.body.contains(part), "{} has no {part}", asked.body);
    }
    assert!(!asked.headers.contains_key("authorization"), "the token is all that it shows");
}

#[tokio::test]
async fn a_role_of_a_profile_is_asked_for_where_the_agent_runs() {
    let keys = "[base]\naws_access_key_id = AKIDOFBASE\naws_secret_access_key = key\n\
        [default]\nrole_arn = arn:aws:iam::123456789012:role/serin\nsource_profile = base\n";
    for (runs_in, expected) in [(None, "eu-central-1"), (Some("us-west-2"), "us-west-2")] {
        let answer = |reply: Reply| Reply { body: reply.body.replace("WithWebIdentity", ""), ..reply };
        let sts = Server::start(answer(granted_by_sts())).await;
        let mut place = Place::new(&[("AWS_ENDPOINT_URL_STS", &sts.url())]).await;
        place.environment.extend(runs_in.map(|region| ("AWS_REGION", region.to_owned())));
        let place = place.with_file("AWS_SHARED_CREDENTIALS_FILE", keys);
        assert_eq!(place.shows().await, ("AKIDOFROLE".into(), "s3cret-session".into()));
        let asked = sts.asked().await;
        assert!(asked.body.contains("Action=AssumeRole&"), "{asked:?}");
        let scope = format!("/{expected}/sts/aws4_request");
        assert!(asked.header("authorization").contains(&scope), "{asked:?} is not for {expected}");
    }
}

#[tokio::test]
async fn that_any_certificate_of_cloudwatch_is_believed_does_not_hold_for_who_grants_keys() {
    let sts = Server::start(granted_by_sts()).await;
    let mut place = with_web_identity(&sts).await;
    // What is on this machine is asked in a way of its own, so it has a name here.
    place.environment.push(("AWS_ENDPOINT_URL_STS", sts.url().replace("127.0.0.1", "sts.example")));
    place.environment.push(("SERIN_TEST_INSECURE", "1".into()));
    assert_eq!(place.shows().await.0, "AKIDOFROLE");
    assert!(place.cloudwatch.was_not_asked().await && sts.asked().await.line() == "POST /");
}

#[tokio::test]
async fn a_pod_identity_is_asked_of_the_nodes_agent() {
    let agent = Server::start(granted(LATE)).await;
    let place = with_pod_identity(&agent).await;
    assert_eq!(place.shows().await, ("AKIDGRANTED".into(), "s3cret-token".into()));
    let asked = agent.asked().await;
    assert_eq!((asked.line().as_str(), asked.header("authorization")), ("GET /v1/credentials", "s3cret-pod-identity"));
}

#[tokio::test]
async fn an_instance_gives_the_keys_of_its_role() {
    let instance = Server::answering(|asked| match asked.path.as_str() {
        "/latest/api/token" => Reply {
            headers: vec![("x-aws-ec2-metadata-token-ttl-seconds", "21600".into())],
            ..Reply::ok("s3cret-session")
        },
        "/latest/meta-data/iam/security-credentials/" => Reply::ok("serin-role"),
        "/latest/meta-data/iam/security-credentials/serin-role" => granted("2999-01-02T04:04:05Z"),
        path => Reply::status(404, path),
    });
    let instance = instance.await;
    // Where the environment names a proxy, the vendor is asked through it, and the machine itself is not.
    let proxy = Server::start(Reply::ok(&results(&["1"]))).await;
    let environment =
        [("AWS_EC2_METADATA_SERVICE_ENDPOINT", &*instance.url()), ("HTTP_PROXY", &*proxy.url()), ("HTTPS_PROXY", "x")];
    let place = Place::new(&environment).await;
    let (said, _) = place.says(1).await;
    assert_eq!(said, ["Ok(1.0)"]);
    assert!(proxy.asked().await.header("authorization").contains("Credential=AKIDGRANTED/"));
    assert!(proxy.was_not_asked().await && place.cloudwatch.was_not_asked().await);
    assert_eq!(instance.asked().await.line(), "PUT /latest/api/token");
    for path in ["", "serin-role"] {
        let asked = instance.asked().await;
        assert_eq!(asked.line(), format!("GET /latest/meta-data/iam/security-credentials/{path}"));
        assert_eq!(asked.header("x-aws-ec2-metadata-token"), "s3cret-session");
    }
}

#[tokio::test]
async fn granted_keys_are_kept_until_they_are_nearly_over_or_refused() {
    let asked_in = async |end: &'static str, refused: bool| {
        let agent = Server::start(granted(end)).await;
        let place = with_pod_identity(&agent).await;
        let refusal = move |_: &Asked| Reply::status(403, r#"{"message":"ExpiredTokenException"}"#);
        let place = if refused { Place { cloudwatch: Server::answering(refusal).await, ..place } } else { place };
        let (said, _) = place.says(3).await;
        assert!(said.len() == 3 && said.iter().all(|said| said.starts_with("Ok") != refused), "{said:?}");
        let mut count = 0;
        while !agent.was_not_asked().await {
            agent.asked().await;
            count += 1;
        }
        count
    };
    assert_eq!(asked_in(LATE, false).await, 1);
    assert_eq!(asked_in(SOON, false).await, 3);
    assert_eq!(asked_in(LATE, true).await, 3, "a refusal may mean that they were withdrawn");
}

#[tokio::test]
async fn without_any_the_reason_names_what_would_do() {
    let none = Place::new(&[("AWS_EC2_METADATA_DISABLED", "true")]).await.fails().await;
    for part in ["no secret with aws_access_key_id and aws_secret_access_key", "web identity, container, instance"] {
        assert!(none.starts_with("cloudwatch: no keys: ") && none.contains(part), "{none}");
    }
    // Nothing answers, as on a machine that is not Amazon's: that is found out long before the query's time is over.
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("http://{}", silent.local_addr().unwrap());
    let began = Instant::now();
    let none = Place::new(&[("AWS_EC2_METADATA_SERVICE_ENDPOINT", &address)]).await.fails().await;
    assert!(none.contains("no keys") && !none.contains("within 10 s"), "{none}");
    assert!(began.elapsed() < Duration::from_secs(8), "{:?}", began.elapsed());
}

#[tokio::test]
async fn a_refusal_is_told_without_what_was_shown() {
    let repeat = |asked: &Asked| {
        let (code, said) = ("InvalidIdentityToken", asked.body.replace('&', " "));
        let error = format!("<Error><Type>Sender</Type><Code>{code}</Code><Message>no: {said}</Message></Error>");
        Reply::status(400, &format!("<ErrorResponse>{error}<RequestId>r1</RequestId></ErrorResponse>"))
    };
    let sts = Server::answering(repeat).await;
    let reason = with_web_identity(&sts).await.fails().await;
    assert!(reason.contains("InvalidIdentityToken") && reason.contains("WebIdentityToken=…"), "{reason}");
    assert!(!reason.contains(SECRET), "{reason}");
    let agent = Server::answering(|asked| Reply::status(401, asked.header("authorization"))).await;
    let reason = with_pod_identity(&agent).await.fails().await;
    assert!(reason.contains("401") && !reason.contains(SECRET), "{reason}");
}

#[tokio::test]
async fn no_log_shows_a_token_or_a_key() {
    let sts = Server::start(granted_by_sts()).await;
    let agent = Server::start(granted(LATE)).await;
    for place in [with_web_identity(&sts).await, with_pod_identity(&agent).await] {
        let (said, log) = place.says(2).await;
        assert_eq!(said, ["Ok(1.0)", "Ok(1.0)"]);
        assert!(log.contains("this is logged"), "{log}");
        assert!(!log.contains(SECRET), "{log}");
    }
}
