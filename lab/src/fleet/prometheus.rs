//! A real Prometheus with one target, scraped every second, and asked by its HTTP API.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::{FleetError, PATIENCE};
use crate::http;
use crate::reap;

/// Between two questions.
const POLL: Duration = Duration::from_millis(500);

/// From its start to its being ready, and from there to its first scrape: it looks for targets every five seconds.
const START: Duration = Duration::from_secs(60);

/// The job's name, which is on every series.
pub const JOB: &str = "ldrscope";

/// A running Prometheus, killed when dropped.
#[derive(Debug)]
pub struct Prometheus {
    child: Child,
    address: SocketAddr,
    log: PathBuf,
}

/// One series of an answer.
#[derive(Debug, Clone, PartialEq)]
pub struct Sample {
    /// With the name as `__name__`.
    pub labels: BTreeMap<String, String>,
    /// Its value.
    pub value: f64,
}

/// An alert that is pending or firing.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Alert {
    /// With the alert's name as `alertname`.
    pub labels: BTreeMap<String, String>,
    /// Templates filled in.
    pub annotations: BTreeMap<String, String>,
    /// `pending` or `firing`.
    pub state: String,
}

impl Alert {
    /// Whether it is the firing alert called `name`.
    pub fn fires(&self, name: &str) -> bool {
        self.state == "firing" && self.labels.get("alertname").is_some_and(|own| own == name)
    }
}

#[derive(Debug, Deserialize)]
struct Answer<T> {
    data: T,
}

#[derive(Debug, Deserialize)]
struct Vector {
    result: Vec<Series>,
}

#[derive(Debug, Deserialize)]
struct Series {
    metric: BTreeMap<String, String>,
    /// Seconds, and the value as text.
    value: (f64, String),
}

#[derive(Debug, Deserialize)]
struct Alerts {
    alerts: Vec<Alert>,
}

impl Prometheus {
    /// Starts it at `address` on `target`, with the files of alert rules, its own files in `directory`, and returns once
    /// it has scraped the target.
    pub fn start(
        address: SocketAddr,
        target: SocketAddr,
        rules: &[&Path],
        directory: &Path,
    ) -> Result<Self, FleetError> {
        let action = || format!("write to {}", directory.display());
        fs::create_dir_all(directory).map_err(FleetError::io(action()))?;
        let configuration = directory.join("prometheus.yml");
        fs::write(&configuration, configuration_of(target, rules)).map_err(FleetError::io(action()))?;
        let log = directory.join("prometheus.log");
        let output = File::create(&log).map_err(FleetError::io(action()))?;
        let mut command = Command::new("prometheus");
        command
            .arg(format!("--config.file={}", configuration.display()))
            .arg(format!(
                "--storage.tsdb.path={}",
                directory.join("data").display()
            ))
            .arg(format!("--web.listen-address={address}"))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(output);
        let child = command.spawn().map_err(|source| FleetError::Start {
            program: "prometheus".to_owned(),
            source,
        })?;
        let prometheus = Self { child, address, log };
        prometheus.wait("Prometheus is ready", START, || {
            Ok(http::get(address, "/-/ready", PATIENCE).is_ok_and(|answer| answer.status == 200))
        })?;
        prometheus.wait("Prometheus has scraped its target", START, || {
            Ok(!prometheus.query("scrape_samples_scraped > 0")?.is_empty())
        })?;
        Ok(prometheus)
    }

    /// The instant vector of a PromQL expression, now.
    pub fn query(&self, expression: &str) -> Result<Vec<Sample>, FleetError> {
        let vector: Vector = self.ask(&format!("/api/v1/query?query={}", http::escape(expression)))?;
        let sample = |series: Series| {
            let value = series.value.1.parse().map_err(|_| odd(&series.value.1))?;
            Ok(Sample {
                labels: series.metric,
                value,
            })
        };
        vector.result.into_iter().map(sample).collect()
    }

    /// The alerts that are pending or firing now.
    pub fn alerts(&self) -> Result<Vec<Alert>, FleetError> {
        Ok(self.ask::<Alerts>("/api/v1/alerts")?.alerts)
    }

    /// Waits until `holds` of the alerts that stand, and returns them.
    pub fn wait_for_alerts(
        &self,
        what: &str,
        limit: Duration,
        holds: impl Fn(&[Alert]) -> bool,
    ) -> Result<Vec<Alert>, FleetError> {
        self.wait(what, limit, || Ok(holds(&self.alerts()?)))?;
        self.alerts()
    }

    /// Waits until a PromQL expression has a result, and returns it.
    pub fn wait_for_result(&self, expression: &str, limit: Duration) -> Result<Vec<Sample>, FleetError> {
        self.wait(&format!("`{expression}` has a result"), limit, || {
            Ok(!self.query(expression)?.is_empty())
        })?;
        self.query(expression)
    }

    fn wait(
        &self,
        what: &str,
        limit: Duration,
        holds: impl Fn() -> Result<bool, FleetError>,
    ) -> Result<(), FleetError> {
        let deadline = Instant::now() + limit;
        loop {
            if holds()? {
                return Ok(());
            }
            if Instant::now() >= deadline {
                return Err(FleetError::NotSeen {
                    what: what.to_owned(),
                    seconds: limit.as_secs(),
                    state: self.account(),
                });
            }
            thread::sleep(POLL);
        }
    }

    fn ask<T: DeserializeOwned>(&self, target: &str) -> Result<T, FleetError> {
        let answer = http::get(self.address, target, PATIENCE)
            .map_err(FleetError::io(format!("ask Prometheus for {target}")))?;
        let parsed: Answer<T> = serde_json::from_str(&answer.body).map_err(|error| {
            odd(&format!(
                "{} to {target}: {error}: {}",
                answer.status, answer.body
            ))
        })?;
        Ok(parsed.data)
    }

    /// How things stand, for a person.
    fn account(&self) -> String {
        let log = fs::read_to_string(&self.log).unwrap_or_default();
        let lines: Vec<_> = log.lines().collect();
        let tail = &lines[lines.len().saturating_sub(5)..];
        format!(
            "alerts: {:?}; up: {:?}; its log ends:\n{}",
            self.alerts(),
            self.query("up"),
            tail.join("\n")
        )
    }
}

impl Drop for Prometheus {
    fn drop(&mut self) {
        reap::kill(&mut self.child);
    }
}

/// Scrapes and judges every second, so that a case need not wait for what takes minutes in production.
fn configuration_of(target: SocketAddr, rules: &[&Path]) -> String {
    let mut text =
        String::from("global:\n  scrape_interval: 1s\n  scrape_timeout: 1s\n  evaluation_interval: 1s\n");
    if !rules.is_empty() {
        text.push_str("rule_files:\n");
    }
    for rule in rules {
        text.push_str(&format!("  - {:?}\n", rule.display().to_string()));
    }
    text.push_str(&format!(
        "scrape_configs:\n  - job_name: {JOB}\n    static_configs:\n      - targets: [\"{target}\"]\n"
    ));
    text
}

fn odd(reason: &str) -> FleetError {
    FleetError::Odd {
        tool: "Prometheus",
        reason: reason.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::{Alerts, Answer, Vector, configuration_of};
    use std::path::Path;

    #[test]
    fn answers_of_its_api_are_read() {
        let text = r#"{"status":"success","data":{"resultType":"vector","result":[
            {"metric":{"__name__":"up","job":"ldrscope"},"value":[1764104477.1,"1"]}]}}"#;
        let answer: Answer<Vector> = serde_json::from_str(text).unwrap();
        assert_eq!(answer.data.result[0].metric["__name__"], "up");
        assert_eq!(answer.data.result[0].value.1, "1");
        let text = r#"{"status":"success","data":{"alerts":[{"labels":{"alertname":"A"},"annotations":{},
            "state":"firing","activeAt":"2026-11-25T21:01:17Z","value":"1e+00"}]}}"#;
        let answer: Answer<Alerts> = serde_json::from_str(text).unwrap();
        assert!(answer.data.alerts[0].fires("A") && !answer.data.alerts[0].fires("B"));
    }

    #[test]
    fn its_configuration_names_target_and_rules() {
        let target = "127.0.0.1:9761".parse().unwrap();
        let text = configuration_of(target, &[Path::new("/etc/a.yml")]);
        assert!(text.contains("rule_files:\n  - \"/etc/a.yml\"\n"), "{text}");
        assert!(text.ends_with("- targets: [\"127.0.0.1:9761\"]\n"), "{text}");
        assert!(!configuration_of(target, &[]).contains("rule_files"));
    }
}
