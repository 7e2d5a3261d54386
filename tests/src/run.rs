//! A run: a plan played against a pipeline, and the books that are closed when all is at rest.

use std::sync::Arc;
use std::sync::atomic::AtomicU32;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use tokio::task::JoinHandle;

use crate::check::{self, Case, Fates, Finding};
use crate::deeds;
use crate::ledger::Open;
use crate::observed::{Control, Observed};
use crate::pipeline::Pipeline;
use crate::plan::Plan;
use crate::play::{self, Stage};
use crate::reader;
use crate::tallies::Tallies;
use crate::wait::wait_until;
use crate::wire::{Answer, Client};

/// How long the processors may take to come to rest after the last delivery.
pub const REST_WITHIN: Duration = Duration::from_secs(120);
/// How long committed tallies may take to show in the metrics.
const METRICS_WITHIN: Duration = Duration::from_secs(10);
/// How many findings of one kind a person gets to see.
const SHOWN: usize = 12;

/// A plan and the pipeline that it is played against.
#[derive(Debug)]
pub struct Run {
    /// The pipeline.
    pub pipeline: Pipeline,
    stage: Arc<Stage>,
}

/// Whether the ingest's counters are complete.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ingest {
    /// One process took every request.
    RanOnce,
    /// What it counted before a restart is gone.
    WasRestarted,
}

/// The books of a run.
#[derive(Debug)]
pub struct Books {
    /// The numbers as they must be.
    pub tallies: Tallies,
    /// Events that are not as they must be.
    pub findings: Vec<Finding>,
    /// Tallies that are not as they must be.
    pub differences: Vec<String>,
    /// Lines at ERROR in the logs.
    pub errors: Vec<String>,
    /// What was found.
    pub observed: Observed,
}

impl Run {
    /// Nothing is played yet.
    pub fn new(pipeline: Pipeline, plan: Plan) -> Self {
        let stage = Stage {
            ledger: Open::new(plan.deliveries.len()),
            secrets: pipeline.secrets.clone(),
            doors: vec![Client::new(pipeline.door())],
            pace: None,
            patience: play::PATIENCE,
            begun: AtomicU32::new(0),
            body_limit: pipeline.setup.body_limit,
            plan,
        };
        Self { pipeline, stage: Arc::new(stage) }
    }

    /// The plan.
    pub fn plan(&self) -> &Plan {
        &self.stage.plan
    }

    /// Begins to play.
    pub fn play(&self) -> JoinHandle<()> {
        let stage = Arc::clone(&self.stage);
        tokio::spawn(async move { play::play(&stage).await })
    }

    /// Makes an accepted delivery once more: what the door says now, and how long it takes to say it.
    pub async fn probe(&self) -> Result<(Answer, Duration)> {
        play::probe(&self.stage).await
    }

    /// How many deliveries are done.
    pub fn answered(&self) -> usize {
        self.stage.ledger.answered()
    }

    /// Waits until so many per cent of all deliveries are done.
    pub async fn until(&self, percent: usize) -> Result<()> {
        let wanted = self.stage.plan.deliveries.len() * percent / 100;
        let missing = || {
            let answered = self.answered();
            std::future::ready(if answered >= wanted { Ok(()) } else { Err(format!("{answered} of {wanted}")) })
        };
        wait_until("deliveries", REST_WITHIN, missing).await
    }

    /// Closes the books. Everything must have been played, and everything there is must be committed.
    pub async fn books(&self, ingest: Ingest, control: Option<Control>) -> Result<Books> {
        let (cluster, prefix) = (self.pipeline.cluster.clone(), self.pipeline.setup.prefix.clone());
        let observed = tokio::task::spawn_blocking(move || reader::read(&cluster, &prefix));
        let mut observed = observed.await.context("the reader panicked")??;
        ensure!(!observed.clean.is_empty(), "clean-events is empty");
        if let Some(control) = control {
            observed.pretend(control, self.stage.plan.seed);
        }
        let ledger = self.stage.ledger.close();
        let case = Case {
            plan: &self.stage.plan,
            ledger: &ledger,
            observed: &observed,
            partitions: self.pipeline.setup.partitions,
            verified_topic: &self.pipeline.topic("verified-events"),
            deeds: &deeds::NONE,
        };
        let fates = Fates::new(&case);
        let findings = check::check(&case, &fates);
        let tallies = Tallies::new(&case, &fates);
        let differences = self.differences(&tallies, ingest).await?;
        let errors = self.pipeline.log_errors()?;
        Ok(Books { tallies, findings, differences, errors, observed })
    }

    async fn differences(&self, tallies: &Tallies, ingest: Ingest) -> Result<Vec<String>> {
        let mut last = Vec::new();
        let waited = wait_until("tallies", METRICS_WITHIN, || async {
            let metrics = self.pipeline.processor_metrics().await.map_err(|error| format!("{error:#}"))?;
            let differences = tallies.compare_processor(&metrics);
            if differences.is_empty() { Ok(()) } else { Err(differences.join("\n")) }
        });
        if waited.await.is_err() {
            last = tallies.compare_processor(&self.pipeline.processor_metrics().await?);
        }
        if ingest == Ingest::RanOnce {
            last.extend(tallies.compare_ingest(&self.pipeline.ingest_metrics().await?));
        }
        Ok(last)
    }
}

impl Books {
    /// Whether everything is as it must be.
    pub fn balance(&self) -> bool {
        self.findings.is_empty() && self.differences.is_empty() && self.errors.is_empty()
    }

    /// What is wrong, for a person; nothing if all is well.
    pub fn complaints(&self) -> String {
        let texts: Vec<String> = self.findings.iter().map(|f| format!("{:?}: {}", f.trouble, f.text)).collect();
        let mut out = String::new();
        for (title, lines) in [
            ("events that are not as they must be", &texts),
            ("tallies that are not as they must be", &self.differences),
            ("errors that nobody expected in the logs", &self.errors),
        ] {
            if lines.is_empty() {
                continue;
            }
            out.push_str(&format!("{} {title}:\n", lines.len()));
            for line in lines.iter().take(SHOWN) {
                out.push_str(&format!("  {line}\n"));
            }
            if lines.len() > SHOWN {
                out.push_str(&format!("  and {} more\n", lines.len() - SHOWN));
            }
        }
        out
    }

    /// Fails with everything that is wrong.
    pub fn require_balance(&self) -> Result<()> {
        ensure!(self.balance(), "the books do not balance\n{}", self.complaints());
        Ok(())
    }
}
