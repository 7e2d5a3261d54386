//! Calls over HTTPS: to a service whose certificate is trusted, and to others whose is not, which get no request at all.

use std::fs;
use std::sync::Arc;

use anyhow::{Result, ensure};
use serde_json::Value;
use weir_tests::authority::Authority;
use weir_tests::fetch_target::{self, FetchTarget, Plan, Response};
use weir_tests::pipeline::Pipeline;

use crate::handlers::{clean, death, send};

fn source(name: &str, target: &FetchTarget) -> String {
    format!(
        "[[source]]\nname = \"{name}\"\nprovider = \"hmac\"\nsecrets = [{{ value = \"a secret\" }}]\n\
         event_id = \"/id\"\nevent_type = \"/kind\"\nresource = \"/order\"\nresource_type = \"order\"\n\
         [source.scheme]\nheader = \"X-Signature\"\n\
         [[source.handlers]]\nkind = \"fetch\"\nurl = \"{}/v1/{{body.order}}\"\nallow_private = true\n\
         into = \"/customer\"\n\n",
        target.url()
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_is_called_over_tls_only_if_its_certificate_is_trusted_and_its_own() -> Result<()> {
    let (trusted, stranger) = (Authority::new("ours")?, Authority::new("theirs")?);
    let impostor = Authority::new("ours")?;
    let plan: Plan = Arc::new(|_, _| Response::Good);
    let good = FetchTarget::start_tls(Arc::clone(&plan), trusted.server("127.0.0.1")?).await?;
    let unknown = FetchTarget::start_tls(Arc::clone(&plan), stranger.server("127.0.0.1")?).await?;
    let pretender = FetchTarget::start_tls(Arc::clone(&plan), impostor.server("127.0.0.1")?).await?;
    let misnamed = FetchTarget::start_tls(plan, trusted.server("elsewhere.test")?).await?;

    let mut pipeline = Pipeline::configure(crate::setup("tls")?)?;
    let authorities = pipeline.folder().join("authorities.pem");
    trusted.write(&authorities)?;
    pipeline.setup.environment.push(("SSL_CERT_FILE".to_owned(), authorities.display().to_string()));
    let config = fs::read_to_string(pipeline.config())?;
    let sources = [("good", &good), ("unknown", &unknown), ("pretender", &pretender), ("misnamed", &misnamed)];
    let sources = sources.map(|(name, target)| source(name, target)).concat();
    fs::write(pipeline.config(), format!("{config}\n[retry]\ndelays = [\"1s\"]\nattempts = 2\n{sources}"))?;
    pipeline.create_topics().await?;
    pipeline.start_ingest()?;
    pipeline.start_processor("a")?;
    pipeline.ready().await?;
    for name in ["good", "unknown", "pretender", "misnamed"] {
        send(&pipeline, name, "evt_1", "paid", "o-1")?;
    }

    let events = clean(&pipeline, "good", 1).await?;
    let (_, attempt, body) = &events["order|o-1"][0];
    let customer: Value = serde_json::from_str(&fetch_target::answer("o-1"))?;
    ensure!((attempt.as_str(), &body["customer"]) == ("1", &customer), "{body}");
    ensure!(good.asked() == [("o-1".to_owned(), 1)].into(), "{:?}", good.asked());
    for (name, target, why) in [
        ("unknown", &unknown, "UnknownIssuer"),
        ("pretender", &pretender, "BadSignature"),
        ("misnamed", &misnamed, "not valid for name"),
    ] {
        let said = death(&pipeline, name, "attempts_exhausted").await?;
        ensure!(said.contains("invalid peer certificate") && said.contains(why), "{name}: {said}");
        ensure!(said.matches("invalid peer certificate").count() >= 2, "each attempt says why: {said}");
        ensure!(target.asked().is_empty(), "{name} was asked: {:?}", target.asked());
    }
    ensure!(pipeline.log_errors()?.is_empty(), "{:?}", pipeline.log_errors()?);
    pipeline.retire().await
}
