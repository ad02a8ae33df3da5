{{- define "mcphub.name" -}}
{{- .Release.Name | trunc 52 | trimSuffix "-" -}}
{{- end -}}

{{- define "mcphub.serviceAccount" -}}
{{- default (include "mcphub.name" .) .Values.serviceAccountName -}}
{{- end -}}

{{- /* Cluster-wide objects of two releases must not have one name. */ -}}
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
