{{- define "hodei.name" -}}
{{- if contains "hodei" .Release.Name }}{{ .Release.Name }}{{ else }}{{ .Release.Name }}-hodei{{ end }}
{{- end }}

{{- define "hodei.labels" -}}
app.kubernetes.io/name: hodei
app.kubernetes.io/instance: {{ .root.Release.Name }}
app.kubernetes.io/component: {{ .component }}
{{- end }}

{{- define "hodei.meta" -}}
{{ include "hodei.labels" . }}
app.kubernetes.io/version: {{ .root.Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .root.Release.Service }}
helm.sh/chart: {{ .root.Chart.Name }}-{{ .root.Chart.Version }}
{{- end }}

{{- define "hodei.image" -}}
{{ .Values.image.repository }}:{{ .Values.image.tag | default .Chart.AppVersion }}
{{- end }}

{{- define "hodei.secret" -}}
{{ .Values.existingSecret | default (include "hodei.name" .) }}
{{- end }}

{{- define "hodei.postgresSecret" -}}
{{- if .Values.postgres.existingSecret }}{{ .Values.postgres.existingSecret }}{{ else }}{{ include "hodei.name" . }}-postgres{{ end }}
{{- end }}

{{- define "hodei.probes" -}}
ports:
  - { name: health, containerPort: 9090 }
livenessProbe:
  httpGet: { path: /livez, port: health }
  periodSeconds: 10
  timeoutSeconds: 5
readinessProbe:
  httpGet: { path: /readyz, port: health }
  periodSeconds: 2
  timeoutSeconds: 2
startupProbe:
  httpGet: { path: /livez, port: health }
  periodSeconds: 1
  failureThreshold: 60
{{- end }}
