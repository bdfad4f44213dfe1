//! What the cluster refuses is taken back by a commit.

use kit::wait::until;

use crate::{ControlPlane, END};

#[tokio::test]
async fn what_kustomize_cannot_build_is_taken_back_without_a_person() {
    let plane = ControlPlane::new(&[]).await;
    for file in ["basic/tenant-2.yaml", "basic/kustomization.yaml"] {
        let before = plane.cluster.file(file);
        plane.cluster.push_unbuildable(file, "a: b: c\n");
        until(&format!("{file} is taken back"), END, async || {
            plane.cluster.file(file) == before
        })
        .await;
        let message = plane.cluster.message();
        assert!(
            message.starts_with("Take back files of tenants: kustomize cannot build them\n\nkustomize build failed: "),
            "{message}"
        );
        assert!(message.contains("Actor: onboarding-service"), "{message}");
    }
    until("both are counted", END, async || {
        let metrics = plane.service.metrics().await;
        metrics.sum("taken_back_total", &[]) as u64 == 2
    })
    .await;
}
