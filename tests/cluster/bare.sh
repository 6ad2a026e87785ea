# The cluster by itself, sourced by node.sh: a pod runs, has a network, and can be entered.
kubectl apply -f - <<'EOF'
apiVersion: v1
kind: Pod
metadata: {name: bare}
spec:
  terminationGracePeriodSeconds: 1
  containers: [{name: main, image: busybox, imagePullPolicy: IfNotPresent, command: [sleep, "3600"]}]
EOF
until_true 30 kubectl get serviceaccount default
kubectl wait --for=condition=Ready pod/bare --timeout=60s
kubectl exec bare -- wget -q -O - --no-check-certificate https://10.96.0.1/healthz || true
kubectl logs bare
kubectl get pods -o wide
