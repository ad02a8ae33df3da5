{{- define "mcphub.name" -}}
{{- .Release.Name | trunc 52 | trimSuffix "-" -}}
{{- end -}}

{{- define "mcphub.serviceAccount" -}}
{{- default (include "mcphub.name" .) .Values.serviceAccountName -}}
{{- end -}}

{{- /* Cluster-wide objects of two releases need different names. */ -}}
{{- define "mcphub.clusterName" -}}
{{- printf "%s:%s" .Release.Namespace (include "mcphub.name" .) -}}
{{- end -}}

{{- define "mcphub.selector" -}}
app.kubernetes.io/name: mcphub-operator
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{- define "mcphub.labels" -}}
{{ include "mcphub.selector" . }}
app.kubernetes.io/component: operator
app.kubernetes.io/part-of: mcphub
app.kubernetes.io/managed-by: {{ .Release.Service }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
{{- end -}}

{{- define "mcphub.config" -}}
hubImage: {{ .Values.hubImage | quote }}
{{- with .Values.hubImagePullPolicy }}
imagePullPolicy: {{ . }}
{{- end }}
watchNamespaces: {{ .Values.watchNamespaces | toJson }}
prometheus: {{ .Values.prometheus | toJson }}
{{- end -}}

{{- /* The schema cannot compare two values. The operator would refuse to start with these. */ -}}
{{- define "mcphub.checkLeaderElection" -}}
{{- with .Values.leaderElection -}}
{{- if ge (float64 .renewDeadline) (float64 .duration) -}}
{{- fail (printf "leaderElection.renewDeadline (%v) must be less than leaderElection.duration (%v): a leader must stop before another one takes over" .renewDeadline .duration) -}}
{{- end -}}
{{- if ge (float64 .retryPeriod) (float64 .renewDeadline) -}}
{{- fail (printf "leaderElection.retryPeriod (%v) must be less than leaderElection.renewDeadline (%v): a leader needs more than one try to renew" .retryPeriod .renewDeadline) -}}
{{- end -}}
{{- end -}}
{{- end -}}
