//! Prometheus's text format, as far as tests read it.

/// A scrape.
#[derive(Debug, Clone)]
pub struct Metrics(String);

impl Metrics {
    pub fn new(text: &str) -> Self {
        Self(text.to_owned())
    }

    /// The sum of all samples of this name that have these labels.
    pub fn sum(&self, name: &str, labels: &[(&str, &str)]) -> f64 {
        self.samples(name, labels).sum()
    }

    /// Whether there is a sample of this name.
    pub fn has(&self, name: &str) -> bool {
        self.samples(name, &[]).next().is_some()
    }

    /// The text of the scrape.
    pub fn text(&self) -> &str {
        &self.0
    }

    fn samples(&self, name: &str, labels: &[(&str, &str)]) -> impl Iterator<Item = f64> {
        let labels: Vec<_> = labels
            .iter()
            .map(|(name, value)| format!("{name}=\"{value}\""))
            .collect();
        self.0.lines().filter_map(move |line| {
            let (sample, value) = line.rsplit_once(' ')?;
            let (found, has) = sample.split_once('{').unwrap_or((sample, ""));
            let fits = found == name && labels.iter().all(|label| has.contains(label));
            fits.then(|| value.parse().ok())?
        })
    }
}
