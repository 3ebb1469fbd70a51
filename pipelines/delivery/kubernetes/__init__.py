"""An environment that is a Deployment on a Kubernetes cluster, changed with kubectl."""
